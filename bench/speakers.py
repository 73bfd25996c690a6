"""Measures how well speakers are told apart on conversations joined from clips of ../shared: bench/speakers.py.

Each conversation takes 2 to 5 of the voices, cuts their clips into turns, and puts the turns one after the other, with
pauses of 0 to 0.6 s; no piece of a clip comes twice. The error is the share of speech whose speaker is wrong under the
best assignment of names; overlapping speech does not occur, and pauses are not counted. What is left when 0.25 s around
every change of speaker are not counted either, as is usual, stands beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from clips import samples_of

from triptych.core.catalog import Catalog
from triptych.core.settings import Settings
from triptych.workers.engines.speaker import SpeakerEngine
from triptych.workers.media.resampling import SAMPLE_RATE_HZ
from triptych.workers.media.sound import Sound, as_float
from triptych.workers.media.voice import VoiceFinder
from triptych.workers.speakers.diarization import moments_in
from triptych.workers.speakers.turns import Moment, Turn, turns_of

FRAME_MS = 10
# Clips of one voice begin alike. Who speaks the two commands called en_go... and en_some... is not known: left out.
VOICES = {
    "lj": ("en_LJ001-0001", "en_LJ001-0003", "en_LJ001-0005", "en_LJ001-0009", "en_LJ001-0010", "en_LJ001-0012"),
    "kennedy": ("en_jfk_cpp",),
    "cards": ("en_cards",),
    "sb": ("en_sb_spk1",),
    "es": ("es_leopard",),
    "fr": ("fr_leopard",),
    "de": ("de_leopard",),
    "june": ("fr_ast",),
    "ivr": ("ru_ast",),
    "de_azure": ("de_azure",),
    "pt_azure": ("pt_azure",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A joined recording, and who speaks in it."""

    samples: npt.NDArray[np.int16]
    """Mono, 16 kHz."""
    said: tuple[Turn, ...]


def voices(public: Path) -> dict[str, list[npt.NDArray[np.int16]]]:
    """Gives every voice's stretches of speech, out of the folder `public` of ../shared/data."""
    items = json.loads((public / "manifest.json").read_text("utf-8"))["items"]
    found: dict[str, list[npt.NDArray[np.int16]]] = {}
    for name, starts in VOICES.items():
        for item in items:
            if item["modality"] == "speech" and item["id"].startswith(starts):
                samples = samples_of(public / item["file"])
                sounds = _speech(samples)
                found.setdefault(name, []).append(samples[sounds[0].start : sounds[-1].end])
    return found


def converse(clips: dict[str, list[npt.NDArray[np.int16]]], names: tuple[str, ...], seed: int) -> Conversation:
    """Joins turns of 1 to 6 s of the named voices, at most 30 s of each, until they have no more to say."""
    random = np.random.default_rng(seed)
    left: dict[str, list[npt.NDArray[np.int16]]] = {}
    for name in names:
        order = random.permutation(len(clips[name]))
        speech = np.concatenate([clips[name][index] for index in order])[: 30 * SAMPLE_RATE_HZ]
        left[name] = []
        while len(speech):
            length = round(random.uniform(1, 6) * SAMPLE_RATE_HZ)
            if len(speech) - length < SAMPLE_RATE_HZ:
                length = len(speech)
            left[name].append(speech[:length])
            speech = speech[length:]
    parts: list[npt.NDArray[np.int16]] = []
    said: list[Turn] = []
    at, last = 0, ""
    while len(open_names := [name for name in names if left[name] and (name != last or len(names) == 1)]) > 0:
        # Mostly whoever has more left, so that turns alternate to the end.
        weights = np.array([len(left[name]) for name in open_names], float)
        last = str(random.choice(open_names, p=weights / weights.sum()))
        piece = left[last].pop(0)
        ms = at * 1000 // SAMPLE_RATE_HZ
        said.append(Turn(start_ms=ms, end_ms=ms + len(piece) * 1000 // SAMPLE_RATE_HZ, speaker=names.index(last)))
        pause = np.zeros(round(random.choice([0, 0.1, 0.3, 0.6]) * SAMPLE_RATE_HZ), np.int16)
        parts += [piece, pause]
        at += len(piece) + len(pause)
    return Conversation(samples=np.concatenate(parts), said=tuple(said))


def noisy(samples: npt.NDArray[np.int16], ratio_db: float, seed: int) -> npt.NDArray[np.int16]:
    """Adds noise, half of it white and half falling off towards high frequencies."""
    white = np.random.default_rng(seed).standard_normal((2, len(samples)))
    walk = np.cumsum(white[0])
    low = walk - np.convolve(walk, np.ones(400) / 400, "same")
    noise = low / low.std() + white[1]
    loudness = np.sqrt((samples.astype(float) ** 2).mean() / 10 ** (ratio_db / 10))
    return np.clip(samples + noise * loudness / noise.std(), -32768, 32767).astype(np.int16)


def heard(engine: SpeakerEngine, samples: npt.NDArray[np.int16], *, fewest: int = 0, most: int = 0) -> list[Turn]:
    """Tells who speaks when, as a job does."""
    moments, voices_heard = [], []
    for number, sound in enumerate(_speech(samples)):
        for first, end in moments_in(len(sound.samples)):
            voices_heard.append(as_float(sound.samples[first:end]))
            start_ms, end_ms = ((sound.start + place) * 1000 // SAMPLE_RATE_HZ for place in (first, end))
            moments.append(Moment(start_ms=start_ms, end_ms=end_ms, stretch=number))
    [embeddings] = engine.run_batch([engine.voices(voices_heard)])
    assert not isinstance(embeddings, Exception)
    return turns_of(moments, embeddings, same_speaker=engine.same_speaker, fewest=fewest, most=most)


def _speech(samples: npt.NDArray[np.int16]) -> list[Sound]:
    finder = VoiceFinder(0)
    return [*finder.add(samples), *finder.rest()]


def confusion(said: tuple[Turn, ...], turns: list[Turn], *, collar_ms: int = 0) -> npt.NDArray[np.int_]:
    """Gives (wrong, all) frames of 10 ms in which somebody speaks and somebody was heard, shape (2,).

    Args:
        said: The truth.
        turns: What was heard.
        collar_ms: So much around the ends of every turn is not counted.
    """
    from scipy.optimize import linear_sum_assignment

    end = max(turn.end_ms for turn in (*said, *turns)) // FRAME_MS + 1
    truth, guess = np.full(end, -1), np.full(end, -1)
    for row, frames in ((said, truth), (turns, guess)):
        for turn in row:
            frames[turn.start_ms // FRAME_MS : turn.end_ms // FRAME_MS] = turn.speaker
    for edge_ms in (edge for turn in said for edge in (turn.start_ms, turn.end_ms)):
        truth[max(0, edge_ms - collar_ms) // FRAME_MS : (edge_ms + collar_ms) // FRAME_MS] = -1
    both = (truth >= 0) & (guess >= 0)
    table = np.zeros((truth.max() + 1, guess.max() + 1), int)
    np.add.at(table, (truth[both], guess[both]), 1)
    rows, columns = linear_sum_assignment(-table)
    return np.array([both.sum() - table[rows, columns].sum(), both.sum()])


def main() -> None:
    """Prints one line per number of speakers, then the sum."""
    from triptych.workers.engines import registry

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("public", nargs="?", type=Path, default=Path("../shared/data/public"))
    parser.add_argument("--conversations", type=int, default=12, help="of every number of speakers")
    parser.add_argument("--noise-db", type=float, help="add noise at this ratio of speech to noise, in decibels")
    options = parser.parse_args()
    settings = Settings(engine_threads=1)
    engine = registry.build(settings.speaker_model, Catalog.load(settings), settings)
    engine.load()
    clips = voices(options.public)
    began, audio_s, every_talk = time.process_time(), 0.0, np.zeros((3, 2), int)
    for size in range(1, 6):
        sums, right, choices = np.zeros((3, 2), int), 0, _choices(tuple(clips), size, options.conversations)
        for seed, names in enumerate(choices):
            talk = converse(clips, names, seed)
            samples = talk.samples if options.noise_db is None else noisy(talk.samples, options.noise_db, seed)
            turns = heard(engine, samples)
            told = heard(engine, samples, fewest=size, most=size)
            sums += (
                confusion(talk.said, turns),
                confusion(talk.said, turns, collar_ms=250),
                confusion(talk.said, told),
            )
            right += len({turn.speaker for turn in turns}) == size
            audio_s += 2 * len(talk.samples) / SAMPLE_RATE_HZ
        every_talk += sums
        plain, collared, told_share = sums[:, 0] / sums[:, 1]
        print(
            f"{size} speakers: {len(choices)} conversations, {sums[0, 1] / 6000:.0f} min of speech, confusion "
            f"{plain:.3f} (collar {collared:.3f}, number given {told_share:.3f}), number right in {right}"
        )
    spent_s = (time.process_time() - began) / (audio_s / 60)
    plain, collared, told_share = every_talk[:, 0] / every_talk[:, 1]
    print(f"CONFUSION {plain:.3f} COLLAR {collared:.3f} GIVEN {told_share:.3f} CPU {spent_s:.2f} s a minute of audio")


def _choices(names: tuple[str, ...], size: int, conversations: int) -> list[tuple[str, ...]]:
    every = list(combinations(names, size))
    random = np.random.default_rng(size)
    count = min(len(every), conversations)
    return [every[index] for index in random.choice(len(every), count, replace=False)]


if __name__ == "__main__":
    main()
