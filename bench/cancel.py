"""How soon a cancelled job leaves its engine alone: a real stack, all engines busy, jobs cancelled at random times.

    python bench/cancel.py [--cancels 40] [--seed 7]

Next to the jobs that are cancelled, other callers keep every engine busy, and share its batches; theirs must all
succeed and read the same as alone. A time is the worker's own `triptych_cancel_seconds`: from CancelJob until the
job's thread has ended and the engine computes nothing that only this job would want. The weights are taken from
TRIPTYCH_MODELS_DIR.
"""

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clips import samples_of
from PIL import Image, ImageDraw, ImageFont
from prometheus_client.parser import text_string_to_metric_families

from triptych.client import Client, specs
from triptych.v1.job_pb2 import CachePolicy, JobOptions, JobSpec, JobState
from triptych.v1.vision_pb2 import GenerationConfig
from triptych.workers.media.resampling import SAMPLE_RATE_HZ

CLIPS = Path(__file__).parents[1] / "tests" / "data" / "audio"
WORDS = Path(__file__).read_text("utf-8").split()
# Equal work would be answered from what is known.
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)
PATIENCE_S = 120.0
# Longest time from its first sign of running until a job is cancelled.
MAX_RUN_S = 4.0
BOUNDS = {
    "transcription": ("whisper-base (CTranslate2)", "anywhere: its process is killed"),
    "ocr": ("PP-OCRv6 (ONNX Runtime)", "an operator of the graph"),
    "vision": ("reader (torch)", "a matrix multiplication, a token"),
}


def page(rng: random.Random, line_count: int) -> Image.Image:
    image = Image.new("L", (1000, 40 + 32 * line_count), "white")
    draw = ImageDraw.Draw(image)
    for number in range(line_count):
        line = f"{rng.randrange(1000, 9999)} {' '.join(rng.sample(WORDS, 8))}"[:72]
        draw.text((30, 20 + 32 * number), line, fill="black", font=ImageFont.load_default(24))
    return image


def document(rng: random.Random, page_count: int, line_count: int) -> bytes:
    file = io.BytesIO()
    first, *rest = [page(rng, line_count) for _ in range(page_count)]
    first.save(file, "PDF", save_all=True, append_images=rest, resolution=150)
    return file.getvalue()


def recording(times: int) -> bytes:
    file = io.BytesIO()
    samples = [samples_of(path) for path in sorted(CLIPS.glob("*.opus"))]
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        for _ in range(times):
            for clip in samples:
                writer.writeframes(clip.tobytes())
    return file.getvalue()


class Jobs:
    """What is asked for: `long` jobs to be cancelled, `short` ones for company."""

    def __init__(self, client: Client, rng: random.Random) -> None:
        speech, clip, scan, full_page, short_page = client.sources(
            [recording(8), recording(1), document(rng, 12, 40), document(rng, 1, 30), document(rng, 1, 12)]
        )
        letter, short = " ".join(rng.choices(WORDS, k=2500)), GenerationConfig(max_output_tokens=24)
        endless = GenerationConfig(max_output_tokens=1000)
        self.long = {
            "transcription": [specs.transcription(speech)],
            "ocr": [specs.ocr(scan)],
            "vision": [
                specs.vision("Repeat it all.", [full_page], endless),
                specs.vision(f"{letter}\n\nRepeat it all.", [], endless),
            ],
        }
        self.short = {
            "transcription": specs.transcription(clip),
            "ocr": specs.ocr(short_page),
            "vision": specs.vision("What is the number in the first line?", [short_page], short),
        }


class Stack:
    """`triptych up` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._env = os.environ | {"TRIPTYCH_STATE_DIR": str(folder), "PYTHONPATH": path}

    @contextmanager
    def up(self) -> Iterator[Client]:
        """Gives a client of it; afterwards it is down."""
        try:
            self._run("up", "--no-pull")
            with Client(self._record()["target"]) as client:
                yield client
        finally:
            self._run("down")

    def cancelled(self, kind: str) -> tuple[int, float]:
        """Gives how many cancelled jobs of a kind have left the engine alone, and after how many seconds in sum."""
        found = {"count": 0.0, "sum": 0.0}
        process = next(one for one in self._record()["processes"] if one["name"].startswith(f"worker-{kind}"))
        with urllib.request.urlopen(f"http://{process['ready']['metrics']}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            if family.name == "triptych_cancel_seconds":
                for sample in family.samples:
                    found[sample.name.rsplit("_", 1)[1]] = sample.value
        return int(found["count"]), found["sum"]

    def _record(self) -> Any:
        return json.loads((self._folder / "stack.json").read_text("utf-8"))

    def _run(self, command: str, *arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "triptych.cli", command, *arguments], env=self._env, check=True)


def until_running(client: Client, name: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while client.get_job(name).state == JobState.JOB_STATE_PENDING:
        if time.monotonic() > end:
            raise TimeoutError(f"{name} does not begin")
        time.sleep(0.02)


def cancel_one(stack: Stack, client: Client, kind: str, spec: JobSpec, run_s: float) -> float | None:
    """Gives the seconds from CancelJob until the engine was free; None if the job had ended before."""
    count, sum_s = stack.cancelled(kind)
    name = client.submit(spec, ANEW).name
    until_running(client, name)
    time.sleep(run_s)
    client.cancel_job(name)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        now_count, now_sum_s = stack.cancelled(kind)
        if now_count > count:
            return now_sum_s - sum_s
        if client.get_job(name).state == JobState.JOB_STATE_SUCCEEDED:
            return None
        time.sleep(0.05)
    raise TimeoutError(f"{name} was cancelled, and its engine is not free of it")


def text_of(client: Client, spec: JobSpec) -> str:
    """Has a job done, and gives its text."""
    result = client.result(client.wait_job(client.submit(spec, ANEW).name))
    return "\f".join(one.text for one in result.ocr.pages) or result.transcription.text or result.vision.text


def keep_company(client: Client, spec: JobSpec, alone: str, over: threading.Event) -> int:
    """Asks for the same again and again; gives how often. Each time it has to say what it said alone."""
    count = 0
    while not over.is_set():
        if text_of(client, spec) != alone:
            raise AssertionError("a job read otherwise beside one that was cancelled")
        count += 1
    return count


def cancel_many(stack: Stack, client: Client, kind: str, jobs: Jobs, count: int, rng: random.Random) -> list[float]:
    took_s: list[float] = []
    while len(took_s) < count:
        found = cancel_one(stack, client, kind, rng.choice(jobs.long[kind]), rng.uniform(0, MAX_RUN_S))
        if found is not None:
            took_s.append(found)
            print(f"{kind} {len(took_s)}: {found:.2f} s", file=sys.stderr, flush=True)
    return took_s


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cancels", type=int, default=40, help="of each engine")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="cancel-") as folder, ThreadPoolExecutor() as pool:
        stack = Stack(Path(folder))
        with stack.up() as client:
            jobs = Jobs(client, random.Random(given.seed))
            alone = {kind: text_of(client, spec) for kind, spec in jobs.short.items()}
            company = [pool.submit(keep_company, client, jobs.short[kind], alone[kind], over) for kind in BOUNDS]
            cancels = {
                kind: pool.submit(cancel_many, stack, client, kind, jobs, given.cancels, random.Random(given.seed))
                for kind in BOUNDS
            }
            try:
                took_s = {kind: found.result() for kind, found in cancels.items()}
            finally:
                over.set()
            beside = sum(caller.result() for caller in company)
    print("| engine | what it stops at | cancels | p50 s | p99 s |\n|---|---|---|---|---|")
    for kind, (engine, bound) in BOUNDS.items():
        p50, p99 = statistics.median(took_s[kind]), quantile(took_s[kind], 0.99)
        print(f"| {engine} | {bound} | {len(took_s[kind])} | {p50:.2f} | {p99:.2f} |")
    print(f"{beside} jobs beside them read as they read alone")
    print(f"cancelled p99 {quantile([one for kind in took_s.values() for one in kind], 0.99):.2f} s")


if __name__ == "__main__":
    main()
