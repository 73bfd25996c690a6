"""Audio seconds per CPU second: the engine window by window, the engine in batches, and faster-whisper's own pipeline.

    python bench/whisper.py MODELS_DIR AUDIO...

All three detect the language. The texts of the first two must be equal; how many windows the pipeline reads alike is
told. On a CPU a batch gains little, as the encoder is bound by computing; what gains is the encode that language
detection and decoding share.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from triptych.core.errors import TriptychError
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.whisper import Decoding, SpeechWindow, WhisperEngine
from triptych.workers.engines.whisper_windows import pack, speech_stretches
from triptych.workers.media.audio import decode_audio


def timed(read: Callable[[], list[str]]) -> tuple[list[str], float]:
    began = time.process_time()
    texts = read()
    return texts, time.process_time() - began


def main() -> None:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="windows in a batch")
    parser.add_argument("--beam", type=int, default=5)
    given = parser.parse_args()
    folder = given.models_dir / "whisper-base"
    engine = WhisperEngine(folder, ModelRef(), device="cpu", threads=given.threads)
    engine.load()
    engine.warm_up()

    began = time.process_time()
    decoding = Decoding(beam_size=given.beam, temperature=0.0)
    heard = [
        window.samples(audio)
        for audio in (decode_audio(path.read_bytes(), max_audio_s=36_000) for path in given.files)
        for window in pack(speech_stretches(audio, 0, len(audio.samples)))
    ]
    windows = [engine.window(samples, language=None, decoding=decoding) for samples in heard]
    prepared_s = time.process_time() - began

    def read(size: int) -> list[str]:
        batches: list[list[SpeechWindow]] = [windows[at : at + size] for at in range(0, len(windows), size)]
        texts = []
        for result in (result for batch in batches for result in engine.run_batch(batch)):
            if isinstance(result, Exception):
                raise TriptychError("a window failed") from result
            texts.append(result.text)
        return texts

    pipeline = BatchedInferencePipeline(
        WhisperModel(str(folder), "cpu", compute_type="int8", cpu_threads=given.threads)
    )

    def read_with_pipeline() -> list[str]:
        options = {"vad_filter": False, "beam_size": given.beam, "temperature": 0.0, "word_timestamps": True}
        found = [pipeline.transcribe(samples, **options)[0] for samples in heard]
        return [" ".join(segment.text.strip() for segment in segments) for segments in found]

    alone, alone_s = timed(lambda: read(1))
    batched, batched_s = timed(lambda: read(given.batch))
    theirs, theirs_s = timed(read_with_pipeline)
    speech_s = sum(window.speech_s for window in windows)
    report = {
        "windows": len(windows),
        "speech_s": round(speech_s, 1),
        "cpu_s": {
            "decode_vad_mel": round(prepared_s, 1),
            "one_by_one": round(alone_s, 1),
            f"batches_of_{given.batch}": round(batched_s, 1),
            "faster_whisper": round(theirs_s, 1),
        },
        "batched_texts_equal": sum(one == other for one, other in zip(alone, batched, strict=True)),
        "faster_whisper_texts_equal": sum(one == other for one, other in zip(alone, theirs, strict=True)),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
