"""What transcribing costs: faster-whisper clip by clip, its batched pipeline, and Triptych with 16 callers at once.

    python bench/speech.py [FILES ...] [--manifest MANIFEST] [--threads 2] [--json FILE]

All on the same weights (whisper-base of TRIPTYCH_MODELS_DIR, int8), with beam 5 and the language detected. Without
FILES 16 clips of at most 30 s are taken from the manifest (default: the public set beside the repository), in even
steps. Where the manifest says what was said, word error rates are told.

CPU seconds count: loading is left out, child processes are counted in. Triptych is a real Redis, service and worker of
this run's own; held to the bounds is what its worker takes (the process that holds the weights is a child of it), and
what the service and Redis take is told too. faster-whisper cuts and decodes as Triptych does (voice detection with the
same settings, no timestamps, no text carried over); what its `transcribe` takes by default is told too. In every
process threads that wait spin as briefly as in a Triptych worker, which is kind to faster-whisper on a busy machine.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from accuracy_run.manifest import Item, items
from accuracy_run.words import compare
from cpu_seconds import Run, measured
from own_stack import own_stack
from proof import Proof, arguments

from triptych.core.settings import Settings
from triptych.v1.job_pb2 import CachePolicy, JobOptions
from triptych.v1.transcription_pb2 import WINDOW_MODE_FULL, WINDOW_MODE_SHORT, TranscriptionConfig, WindowMode

PUBLIC = Path(__file__).parents[2] / "shared" / "data" / "public" / "manifest.json"
CLIPS = CALLERS = 16
MAX_CLIP_S = 30
MODEL = "whisper-base"
BEAM = 5
# As the worker has it (`triptych.workers.__main__`); read when ctranslate2 is imported, by `theirs`.
SPIN = {"GOMP_SPINCOUNT": "1000"}
MAX_SHARE, MAX_SHORT_SHARE = 0.60, 0.25
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)
# What Triptych's windows are cut with.
VOICE = {"max_speech_duration_s": MAX_CLIP_S, "min_silence_duration_ms": 160}


def theirs(folder: Path, paths: Sequence[Path], threads: int) -> dict[str, Run]:
    """Transcribes with faster-whisper, in this process."""
    os.environ |= SPIN
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(folder), "cpu", compute_type="int8", cpu_threads=threads)
    pipeline = BatchedInferencePipeline(model)
    alike = {"vad_filter": True, "vad_parameters": VOICE, "without_timestamps": True}
    ways: dict[str, Callable[[str], Any]] = {
        "transcribe": lambda path: model.transcribe(path, beam_size=BEAM, condition_on_previous_text=False, **alike),
        "transcribe by default": model.transcribe,
        "BatchedInferencePipeline": lambda path: pipeline.transcribe(path, beam_size=BEAM, batch_size=CALLERS, **alike),
    }

    def text(way: Callable[[str], Any], path: Path) -> str:
        segments, _ = way(str(path))
        return " ".join(segment.text.strip() for segment in segments)

    runs = {}
    for name, way in ways.items():
        text(way, paths[0])
        runs[name] = measured(lambda way=way: [text(way, path) for path in paths], os.getpid())
    return runs


def ours(paths: Sequence[Path], threads: int) -> dict[str, Run]:
    """Transcribes with Triptych."""
    settings = {"TRIPTYCH_SPEECH_MODEL": MODEL, "TRIPTYCH_DEVICE": "cpu", "TRIPTYCH_ENGINE_THREADS": str(threads)}
    with own_stack("transcription", settings | SPIN) as stack, ThreadPoolExecutor(CALLERS) as callers:

        def text(path: Path, mode: WindowMode.ValueType) -> str:
            config = TranscriptionConfig(beam_size=BEAM, window_mode=mode)
            return stack.client.transcribe(path, config, options=ANEW).text

        def together(mode: WindowMode.ValueType) -> Run:
            return measured(
                lambda: list(callers.map(lambda path: text(path, mode), paths)), stack.worker.pid, stack.around
            )

        text(paths[0], WINDOW_MODE_FULL)
        return {
            "batched": together(WINDOW_MODE_FULL),
            "short": together(WINDOW_MODE_SHORT),
            "alone": measured(lambda: [text(path, WINDOW_MODE_FULL) for path in paths], stack.worker.pid, stack.around),
            "short alone": measured(
                lambda: [text(path, WINDOW_MODE_SHORT) for path in paths], stack.worker.pid, stack.around
            ),
        }


def error_rate(texts: Sequence[str], truths: Sequence[Item | None]) -> float | None:
    """Errors over all words of the clips whose truth is known; None: no clip's is."""
    found = [
        compare([item.truth["text"], *item.alternatives], text, item.language or "en")
        for text, item in zip(texts, truths, strict=True)
        if item
    ]
    words = sum(one.length for one in found)
    return sum(one.errors for one in found) / words if words else None


def chosen(given: argparse.Namespace) -> dict[Path, Item | None]:
    """Gives the clips, and what is known of them."""
    known = {}
    if given.manifest.exists():
        spoken = [item for item in items(given.manifest, "speech") if item.truth.get("text")]
        known = {item.path.resolve(): item for item in spoken}
    if given.files:
        return {path: known.get(path.resolve()) for path in given.files}
    import av

    def seconds(path: Path) -> float:
        with av.open(str(path)) as file:
            return float(file.duration or 0) / av.time_base

    short = [path for path in known if 0 < seconds(path) <= MAX_CLIP_S]
    if len(short) < CLIPS:
        raise SystemExit(f"{given.manifest} has no {CLIPS} clips of at most {MAX_CLIP_S} s; name files")
    return {path: known[path] for path in (short[n * len(short) // CLIPS] for n in range(CLIPS))}


def tell(proof: Proof, runs: Mapping[str, Run], rates: Mapping[str, float | None]) -> None:
    """Says what was found, and holds it to the bounds."""
    for name, run in runs.items():
        proof.found(f"{name}: CPU s", run.cpu_s)
        if run.around_s:
            proof.found(f"{name}: CPU s of service and Redis", run.around_s)
        proof.found(f"{name}: wall s", run.wall_s)
        if (rate := rates[name]) is not None:
            proof.found(f"{name}: word error rate", rate)
    base, default = runs["transcribe"].cpu_s, runs["transcribe by default"].cpu_s
    proof.at_most("batched / transcribe", runs["batched"].cpu_s / base, MAX_SHARE)
    proof.at_most("short / transcribe", runs["short"].cpu_s / base, MAX_SHORT_SHARE)
    proof.found("batched / transcribe by default", runs["batched"].cpu_s / default)
    proof.found("batched / BatchedInferencePipeline", runs["batched"].cpu_s / runs["BatchedInferencePipeline"].cpu_s)
    for name, other in (("batched", "alone"), ("short", "short alone")):
        differ = sum(one != two for one, two in zip(runs[name].texts, runs[other].texts, strict=True))
        proof.at_most(f"{name}: texts that differ from {other}", differ, 0)
    full, short = rates["batched"], rates["short"]
    if full is not None and short is not None:
        proof.at_most("word error rate, short - batched", short - full, 0)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--manifest", type=Path, default=PUBLIC)
    parser.add_argument("--threads", type=int, default=2, help="of an engine")
    parser.add_argument("--texts", action="store_true", help="print what differs")
    given = parser.parse_args()
    clips = chosen(given)
    paths = list(clips)
    runs = theirs(Settings().models_dir / MODEL, paths, given.threads) | ours(paths, given.threads)
    rates = {name: error_rate(run.texts, list(clips.values())) for name, run in runs.items()}
    if given.texts:
        for number, path in enumerate(paths):
            print(path.name, *(f"{name}: {run.texts[number]}" for name, run in runs.items()), sep="\n  ")
    proof = Proof()
    proof.found("clips", len(paths))
    tell(proof, runs, rates)
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
