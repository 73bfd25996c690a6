"""What it costs that an engine can be left: windows and prompts with the ways out, and without them, in turn.

    python bench/heeding.py MODELS_DIR [--rounds 5] [--engines whisper reader]

Without: Whisper in this process, its windows encoded together; the reader without questions between its
multiplications, and with attention over all heads at once. The median of the ratios of neighbouring rounds is told;
CPU seconds of one thread, as threads that wait for each other count too. Texts must be equal.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import ctranslate2
from clips import windows_of
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.reader import ReaderEngine
from triptych.workers.engines.speech import Decoding
from triptych.workers.engines.whisper import WhisperEngine
from triptych.workers.engines.whisper_weights import WhisperWeights

CLIPS = Path(__file__).parents[1] / "tests" / "data" / "audio"
PACKAGE = "triptych.workers.engines"


def speech(folder: Path, threads: int) -> tuple[Callable[[], list[str]], Callable[[], AbstractContextManager[object]]]:
    """Gives how a batch is heard, and how it is heard without a way out."""
    engine = WhisperEngine(folder, ModelRef(), device="cpu", threads=threads)
    engine.load()
    windows = [
        engine.window(samples, language=None, decoding=Decoding(temperature=0.0))
        for path in sorted(CLIPS.glob("*.opus"))
        for samples in windows_of(path)
    ]
    here = WhisperWeights(ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=threads))
    return (
        lambda: [result.text for result in engine.run_batch(windows * 3) if not isinstance(result, Exception)],
        lambda: patch.object(engine._whisper, "model", here),
    )


def reading(folder: Path, threads: int) -> tuple[Callable[[], list[str]], Callable[[], AbstractContextManager[object]]]:
    """Gives how a batch is answered, and how it is answered without a way out."""
    engine = ReaderEngine(folder, ModelRef(), None, device="cpu", threads=threads)
    engine.load()
    words = Path(__file__).read_text("utf-8").split()
    prompts = [
        Prompt(turns=(("user", (" ".join(words[at : at + 150]) + "\nWhat is this?",)),), max_output_tokens=24)
        for at in (0, 50)
    ]

    @contextmanager
    def without() -> Iterator[None]:
        def at_once(module: Any, query: Any, key: Any, value: Any, **options: Any) -> Any:
            return sdpa_attention_forward(module, query, key, value, None, **options)

        silent = patch(f"{PACKAGE}.torch_heeding.heed", lambda: None)
        with silent, patch(f"{PACKAGE}.row_exact._attend_by_head", at_once):
            yield

    return lambda: [one.text for one in engine.run_batch(prompts) if not isinstance(one, Exception)], without


ENGINES = {"whisper": (speech, "whisper-base"), "reader": (reading, "qwen2.5-coder-0.5b-instruct")}


def cpu_s() -> float:
    """CPU seconds of this process and of its children."""
    pids = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    # After the name in parentheses: the 12th and 13th field are ticks in user and in system mode.
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return time.process_time() + sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def seconds(work: Callable[[], Sequence[str]], expected: Sequence[str]) -> float:
    began = cpu_s()
    texts = work()
    took_s = cpu_s() - began
    if texts != expected:
        raise AssertionError("the texts differ")
    return took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    for name in given.engines:
        make, folder = ENGINES[name]
        work, without = make(given.models_dir / folder, given.threads)
        expected, ratios = work(), []
        for _ in range(given.rounds):
            with_s = seconds(work, expected)
            with without():
                without_s = seconds(work, expected)
            ratios.append(with_s / without_s)
            print(f"{name} {with_s:.1f} s with, {without_s:.1f} s without", file=sys.stderr, flush=True)
        print(f"{name}: {statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
