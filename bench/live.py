"""Live speech: how soon words are heard while they are spoken, and whether the finals read as the whole file does.

    python bench/live.py DATA [--seconds 60] [--silence-ms 700] [--utterance-ms 12000] [--json FILE]
    python bench/live.py DATA --audio talk.mp3 --text talk.txt

DATA holds `score.py` and `public/manifest.json`; without --audio its English recordings of one reader are joined until
they are long enough. They are transcribed as a file, and then sent to LiveTranscribe as they would be spoken, in pieces
of 40 ms. Redis, service and worker are real and this run's own; the models are taken from TRIPTYCH_MODELS_DIR.

The delay of a word is the time from the moment when its last sample was sent until the first result that covers it,
interim or final, was here. Where words are is what the file's own transcript says.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import SequenceMatcher
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from clips import samples_of
from own_stack import own_stack
from proof import Proof, arguments, quantile
from toy_stack import Process

from triptych.client import Client
from triptych.services.live.sound import Sound
from triptych.v1.transcription_pb2 import TranscriptionConfig, TranscriptionResult, TranscriptWord
from triptych.v1.transcription_service_pb2 import (
    LIVE_ENCODING_PCM_S16LE,
    Endpointing,
    LiveConfig,
    LiveFinal,
    LiveInterim,
    LiveTranscribeResponse,
)
from triptych.workers.media.resampling import SAMPLE_RATE_HZ

PIECE_MS = 40
BYTES_PER_MS = 2 * SAMPLE_RATE_HZ // 1000
PAUSE_S = 0.3
MAX_DELAY_S, MAX_WORSE = 1.5, 0.02
READER = "en_LJ001-00"


class Speaker:
    """Speaks a recording: its samples come when they would be heard."""

    def __init__(self, pcm: bytes) -> None:
        self._pcm = pcm
        self._began_s = 0.0
        self.latest_s = 0.0

    def pieces(self) -> Iterator[bytes]:
        """Yields the samples, each piece when its last one was said."""
        self._began_s = time.monotonic()
        step = PIECE_MS * BYTES_PER_MS
        for start in range(0, len(self._pcm), step):
            piece = self._pcm[start : start + step]
            wait_s = self.said_s((start + len(piece)) // BYTES_PER_MS) - time.monotonic()
            self.latest_s = max(self.latest_s, -wait_s)
            time.sleep(max(0.0, wait_s))
            yield piece

    def said_s(self, end_ms: int) -> float:
        """Gives when the audio up to a time was over."""
        return self._began_s + end_ms / 1000


def joined(public: Path, seconds: float) -> tuple[bytes, str]:
    """Gives samples and words of clips of one reader, with short pauses between."""
    items = json.loads((public / "manifest.json").read_text("utf-8"))["items"]
    parts: list[np.ndarray[Any, np.dtype[np.int16]]] = []
    texts: list[str] = []
    for item in sorted(items, key=lambda item: str(item["id"])):
        if not item["id"].startswith(READER) or "noise" in item["id"] or "phone" in item["id"]:
            continue
        parts += [
            samples_of(public / item["file"]),
            np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), np.int16),
        ]
        texts.append(item["ground_truth"]["text"])
        if sum(map(len, parts)) >= seconds * SAMPLE_RATE_HZ:
            break
    return np.concatenate(parts).tobytes(), " ".join(texts)


def file_mode(client: Client, pcm: bytes) -> TranscriptionResult:
    sound = Sound()
    sound.add(pcm)
    return client.transcribe(sound.wav(0, sound.end_ms), TranscriptionConfig(enable_word_timestamps=True))


def live_mode(client: Client, speaker: Speaker, config: LiveConfig) -> list[tuple[float, LiveTranscribeResponse]]:
    """Gives what was told, with the time when it was here."""
    return [(time.monotonic(), event) for event in client.live_transcribe(speaker.pieces(), config)]


def processor_s(pid: int) -> float:
    """Gives what a process and its children have used."""
    used = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if pid in (int(stat.parent.name), int(fields[1])):
                used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


def delays_s(words: Sequence[TranscriptWord], told: Sequence[tuple[float, int]], speaker: Speaker) -> list[float]:
    """Gives for each word the time until a result covered it.

    Args:
        words: Where they are.
        told: When results were here, and up to where in the audio they heard.
        speaker: Who said when.
    """
    covered = ((min((at_s for at_s, end_ms in told if end_ms >= word.end_ms), default=inf), word) for word in words)
    return [at_s - speaker.said_s(word.end_ms) for at_s, word in covered]


def measure(
    client: Client, worker: Process, pcm: bytes, text: str, endpointing: Endpointing, score: Any, proof: Proof
) -> None:
    file = file_mode(client, pcm)
    speaker = Speaker(pcm)
    config = LiveConfig(
        encoding=LIVE_ENCODING_PCM_S16LE,
        sample_rate_hz=SAMPLE_RATE_HZ,
        interim_results=True,
        endpointing=endpointing,
    )
    before_s = processor_s(worker.pid)
    events = live_mode(client, speaker, config)
    proof.found("processor time of the worker, s", processor_s(worker.pid) - before_s)
    interims = [(at_s, event.interim) for at_s, event in events if event.HasField("interim")]
    finals = [(at_s, event.final) for at_s, event in events if event.HasField("final")]
    ends = [(at_s, each.result.speech[-1].end_ms) for at_s, each in finals]
    told = [(at_s, each.end_ms) for at_s, each in interims] + ends
    words = [word for segment in file.segments for word in segment.words]
    delays = delays_s(words, told, speaker)
    live_text = " ".join(final.result.text for _, final in finals)
    errors = {name: score.asr_item(text, said, "en") for name, said in (("file", file.text), ("live", live_text))}
    rates = {name: wrong / count for name, (wrong, count, _) in errors.items()}
    proof.found("audio, s", len(pcm) / 2 / SAMPLE_RATE_HZ)
    proof.found("the speaker came late by, s, most", speaker.latest_s)
    proof.found("words", len(words))
    proof.found("interim results", len(interims))
    proof.found("final results", len(finals))
    for share in (0.5, 0.95):
        proof.found(f"delay of a word, s, p{100 * share:g}", quantile(delays, share))
    proof.at_most("delay of a word, s, most", max(delays, default=inf), MAX_DELAY_S)
    final_delays = [at_s - speaker.said_s(end_ms) for at_s, end_ms in ends]
    proof.found("delay of a final behind the end of its speech, s, p50", quantile(final_delays, 0.5))
    proof.found("delay of a final behind the end of its speech, s, most", max(final_delays, default=inf))
    proof.found("settled words that the final changed, share", changed(interims, finals))
    proof.found("word error rate of the file", rates["file"])
    proof.found("word error rate of the finals", rates["live"])
    proof.at_most("worse than the file by", rates["live"] - rates["file"], MAX_WORSE)


def changed(interims: Sequence[tuple[float, LiveInterim]], finals: Sequence[tuple[float, LiveFinal]]) -> float:
    """Gives the share of settled words that finals did not have: their own or, behind a cut, the next one."""
    last = {interim.utterance: interim.stable_text for _, interim in interims}
    texts = {final.utterance: final.result.text for _, final in finals}
    settled = gone = 0
    for number, text in last.items():
        before, after = keys(text), keys(f"{texts.get(number, '')} {texts.get(number + 1, '')}")
        same = sum(block.size for block in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks())
        settled, gone = settled + len(before), gone + len(before) - same
    return gone / max(1, settled)


def keys(text: str) -> list[str]:
    return [word.strip('.,;:?!-"').casefold() for word in text.split()]


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("data", type=Path, help="folder with score.py and public/")
    parser.add_argument("--seconds", type=float, default=60, help="of joined clips (default: 60)")
    parser.add_argument("--audio", type=Path, help="file instead of them")
    parser.add_argument("--text", type=Path, help="what is said in it")
    parser.add_argument("--silence-ms", type=int, default=0, help="that ends an utterance (default: the service's)")
    parser.add_argument("--utterance-ms", type=int, default=0, help="longest utterance (default: the service's)")
    given: argparse.Namespace = parser.parse_args()
    if given.audio and given.text:
        pcm, text = samples_of(given.audio).tobytes(), given.text.read_text()
    else:
        pcm, text = joined(given.data / "public", given.seconds)
    spec = importlib.util.spec_from_file_location("score", given.data / "score.py")
    assert spec
    assert spec.loader
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    endpointing = Endpointing(silence_ms=given.silence_ms, max_utterance_ms=given.utterance_ms)
    proof = Proof()
    with own_stack("transcription") as stack:
        measure(stack.client, stack.worker, pcm, text, endpointing, score, proof)
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
