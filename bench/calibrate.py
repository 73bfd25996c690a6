"""Fits how sure answers are said to be, on questions whose answers are known.

    python bench/calibrate.py MANIFEST [--target HOST:PORT] [--write] [--answers FILE]

Asks the questions of `bench/accuracy.py qa` MANIFEST and the swapped ones, which have no answer. The plan of an answer
runs in this process, so that what speaks for each answer can be seen; recognition and the model are jobs of a service
(one of our own without --target). A logistic model is fitted to whether the answers are right (lenient), and judged on
answers about files that it was not fitted on: their reliability is printed, in bins; and by the least confidence at
which an answer is given, how many are right and how many questions without an answer are told so. --write puts the
weights, fitted on all, where the suite reads them. --answers keeps what was asked, or takes it from there: fitting
anew asks nothing.
"""

import argparse
import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
from accuracy_run.answer_scores import score
from accuracy_run.asked import Question, questions, swapped
from accuracy_run.manifest import items
from accuracy_run.qa import IMAGE, PDF, SPEECH, words
from accuracy_run.service import service

from triptych.client import Client
from triptych.core.media import HEAD_BYTES, checked_type
from triptych.core.pipelines.catalogue import Pipelines
from triptych.core.settings import Settings
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobEvent, JobSpec
from triptych.v1.reasoning_pb2 import ReasoningConfig, ReasoningSpec, SourceDocument
from triptych.workers.reasoning import confidence, finding
from triptych.workers.reasoning.children import ChildOutcome, OnProgress
from triptych.workers.reasoning.confidence import NAMES, Signals
from triptych.workers.reasoning.pipeline import answer
from triptych.workers.reasoning.readings import Reading

T = TypeVar("T")
FOLDS, BINS = 5, 5
RIDGE = 0.3
# These speak against an answer.
AGAINST = frozenset({"not_worked_out", "refused"})
SIGNS = np.array([-1 if name in AGAINST else 1 for name in NAMES])
CHILD_TIMEOUT_S = 3600
PIPELINES = Pipelines.load(Settings())


class ServiceChildren:
    """Runs child jobs as jobs of a service."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self, spec: JobSpec, *, stage: str, on_progress: OnProgress | None = None) -> ChildOutcome:  # noqa: ARG002
        """See `Children.run`."""
        return await asyncio.to_thread(self._run, spec, stage)

    async def compute(self, unit: str, work: Callable[[], T]) -> T:  # noqa: ARG002 - nothing is blamed here
        """See `Children.compute`."""
        return work()

    async def readings(self, key: str, make: Callable[[], Sequence[Reading]]) -> Sequence[Reading]:  # noqa: ARG002
        """See `Children.readings`."""
        return make()

    async def media_type(self, source: InputSource) -> str:
        """See `Children.media_type`."""
        return checked_type(source.content[:HEAD_BYTES], source.media_type, source.display_name)

    async def digest(self, source: InputSource) -> str:
        """See `Children.digest`."""
        return f"sha256-{hashlib.sha256(source.content).hexdigest()}"

    def _run(self, spec: JobSpec, stage: str) -> ChildOutcome:
        began = time.monotonic()
        if (kind := spec.WhichOneof("spec") or "") != "vision":
            # Large inputs are not taken inline.
            [source] = self._client.sources([getattr(spec, kind).input.content])
            getattr(spec, kind).input.CopyFrom(source)
        job = self._client.wait_job(self._client.submit(spec).name, timeout_s=CHILD_TIMEOUT_S)
        result = self._client.result(job)
        return ChildOutcome(job=stage, result=result, elapsed_s=time.monotonic() - began)


async def _forget(event: JobEvent) -> None:
    pass


def ask(client: Client, question: Question) -> dict[str, Any] | None:
    """Gives what speaks for an answer and whether it is right; None if none is given whatever the confidence."""
    seen: list[Signals] = []
    source = InputSource(content=question.item.path.read_bytes(), display_name=question.item.path.name)
    spec = ReasoningSpec(
        documents=[SourceDocument(input=source)], question=question.text, config=ReasoningConfig(min_confidence=0)
    )

    def noted(signals: Signals) -> float:
        seen.append(signals)
        return confidence.probability(signals)

    with patch.object(finding, "probability", noted):
        result = asyncio.run(answer(spec, ServiceChildren(client), _forget, PIPELINES))
    said = words(result)
    told = {"id": question.id, "file": str(question.item.path.name), "said": said, "known": bool(question.answers)}
    right = score(said, question.answers, question.kind).lenient if question.answers else 0.0
    return {**told, "right": right, "signals": asdict(seen[0]) if seen and said else None}


def fitted(rows: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Gives bias and weights; one that says the contrary of what its signal means is noise of a small set, and none."""
    kept = np.ones(len(NAMES), bool)
    while True:
        weights = np.zeros(1 + len(NAMES))
        weights[np.r_[True, kept]] = _newton(rows[:, kept], right)
        wrong = weights[1:] * SIGNS
        if wrong.min() >= 0:
            return weights
        kept[wrong.argmin()] = False


def _newton(rows: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Gives bias and weights of a logistic model with a ridge, by Newton's method."""
    x = np.column_stack([np.ones(len(rows)), rows])
    ridge = RIDGE * np.eye(x.shape[1])
    ridge[0, 0] = 0.01
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        likely = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (right - likely) - ridge @ weights
        step = np.linalg.solve(x.T @ (x * (likely * (1 - likely))[:, None]) + ridge, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def held_out(rows: np.ndarray, right: np.ndarray, files: Sequence[str]) -> np.ndarray:
    """Gives the confidence of each answer by a model that saw no answer about its file."""
    names = sorted(set(files), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    fold = {name: index % FOLDS for index, name in enumerate(names)}
    of = np.array([fold[name] for name in files])
    sure = np.zeros(len(rows))
    for index in range(FOLDS):
        there = of == index
        if there.any():
            weights = fitted(rows[~there], right[~there])
            sure[there] = 1 / (1 + np.exp(-(weights[0] + rows[there] @ weights[1:])))
    return sure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--target", default="", help="address of the service")
    parser.add_argument("--api-key", default="", help="key of the caller")
    parser.add_argument("--answers", type=Path, help="file of what was asked")
    parser.add_argument("--write", action="store_true", help="write the weights")
    given = parser.parse_args()
    asked = _asked(given)
    told = [one for one in asked if one["signals"]]
    rows = np.array([[one["signals"][name] for name in NAMES] for one in told])
    right = np.array([one["right"] for one in told])
    sure = held_out(rows, right, [one["file"] for one in told])
    _print_reliability(sure, right)
    _print_thresholds(asked, told, sure, right)
    weights = fitted(rows, right)
    fit = {"bias": round(weights[0], 3), "weights": dict(zip(NAMES, np.round(weights[1:], 3).tolist(), strict=True))}
    print(json.dumps(fit))
    if given.write:
        place = Path(confidence.__file__).with_name(confidence.WEIGHTS)
        place.write_text(json.dumps(fit, indent=1) + "\n", "utf-8")
    return 0


def _asked(given: argparse.Namespace) -> list[dict[str, Any]]:
    if given.answers and given.answers.exists():
        return json.loads(given.answers.read_text("utf-8"))
    everything = items(given.manifest, IMAGE, PDF, SPEECH)
    known = questions(everything)
    with service(given.target, given.api_key, "vision", beside=("ocr", "transcription")) as client:
        asked = [ask(client, question) for question in (*known, *swapped(known, everything))]
    if given.answers:
        given.answers.write_text(json.dumps(asked, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return asked


def _print_reliability(sure: np.ndarray, right: np.ndarray) -> None:
    print("| sure | answers | mean | right |\n|---|---|---|---|")
    places = np.minimum((sure * BINS).astype(int), BINS - 1)
    for index in range(BINS):
        there = places == index
        means = (f"{values[there].mean():.2f}" if there.any() else "" for values in (sure, right))
        print(f"| {index / BINS:.1f} to {(index + 1) / BINS:.1f} | {there.sum()} | {' | '.join(means)} |")
    brier, usual = np.mean((sure - right) ** 2), right.mean() * (1 - right.mean())
    print(f"Brier score {brier:.3f}; of the share of right ones, said of all, {usual:.3f}")


def _print_thresholds(
    asked: Sequence[dict[str, Any]], told: Sequence[dict[str, Any]], sure: np.ndarray, right: np.ndarray
) -> None:
    known, silent = sum(one["known"] for one in asked), sum(not one["known"] for one in asked)
    of_known = np.array([one["known"] for one in told])
    print("| least confidence | right, of all questions | no answer, where there is none |\n|---|---|---|")
    for least in (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6):
        kept = sure >= least
        found = right[kept & of_known].sum() / max(1, known)
        print(f"| {least:.2f} | {found:.3f} | {1 - (kept & ~of_known).sum() / max(1, silent):.3f} |")


if __name__ == "__main__":
    sys.exit(main())
