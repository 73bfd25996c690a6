"""How good the answers are, and how many of them come with evidence: real engines, in this process, on real documents.

    python bench/answers.py DATA --limit 30 --cache /tmp/recognized

DATA holds `score.py` and `public/qa.jsonl` with its files; what is recognized is kept in the cache folder, so that a
second run only pays for the answers. The models are taken from TRIPTYCH_MODELS_DIR.
"""

import argparse
import asyncio
import hashlib
import importlib
import importlib.util
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from triptych.core.catalog import Catalog
from triptych.core.media import HEAD_BYTES, checked_type
from triptych.core.settings import Settings
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobEvent, JobResult, JobSpec
from triptych.v1.reasoning_pb2 import AnswerStatus, QuoteMatch, ReasoningResult, ReasoningSpec, SourceDocument
from triptych.workers.attempt import Attempt
from triptych.workers.media.page_limits import PageLimits
from triptych.workers.reasoning.children import ChildOutcome
from triptych.workers.reasoning.pipeline import answer
from triptych.workers.reasoning.readings import Reading
from triptych.workers.stations import Stations
from triptych.workers.testing import MemoryUnits

T = TypeVar("T")


class Memory:
    """The backstage of an attempt without stores: inputs carry their bytes, events go nowhere, nothing is shared."""

    def __init__(self) -> None:
        self.units = MemoryUnits()

    def read(self, tenant: str, source: InputSource, offset: int = 0, limit: int = 0) -> bytes:  # noqa: ARG002
        """See `Backstage.read`."""
        return source.content[offset : offset + limit] if limit else source.content[offset:]

    def size(self, tenant: str, source: InputSource) -> int:  # noqa: ARG002 - one tenant
        """See `Backstage.size`."""
        return len(source.content)

    def emit(self, job_id: str, attempt: int, event: JobEvent) -> None:
        """See `Backstage.emit`."""

    def save_part(self, job_id: str, attempt: int, key: str, value: bytes) -> None:
        """See `Backstage.save_part`."""

    def parts(self, job_id: str) -> dict[str, bytes]:  # noqa: ARG002 - there is only one attempt
        """See `Backstage.parts`."""
        return {}


class LocalChildren:
    """Runs child jobs in this process, each in a thread while its engine's batcher works."""

    def __init__(self, settings: Settings, cache: Path) -> None:
        catalog = Catalog.load(settings)
        self._stations = {kind: Stations(settings, kind, catalog) for kind in ("ocr", "transcription", "vision")}
        self._cache = cache
        pages = {"limits": PageLimits.of(settings)}
        self._limits = {"ocr": pages, "vision": pages, "transcription": {"max_audio_s": settings.max_audio_s}}

    async def run(self, spec: JobSpec, *, stage: str, on_progress: object = None) -> ChildOutcome:  # noqa: ARG002
        """See `Children.run`."""
        began = time.monotonic()
        kind = spec.WhichOneof("spec") or ""
        kept = self._cache / f"{hashlib.sha256(spec.SerializeToString(deterministic=True)).hexdigest()}.{kind}"
        cached = kind != "vision" and kept.exists()
        result = JobResult.FromString(kept.read_bytes()) if cached else await asyncio.to_thread(self._run, spec, kind)
        if kind != "vision" and not cached:
            kept.write_bytes(result.SerializeToString())
        model = getattr(result, kind).model
        return ChildOutcome(job=stage, result=result, elapsed_s=time.monotonic() - began, model=model, cached=cached)

    async def compute(self, unit: str, work: Callable[[], T]) -> T:  # noqa: ARG002
        """See `Children.compute`."""
        return await asyncio.to_thread(work)

    async def readings(self, key: str, make: Callable[[], Sequence[Reading]]) -> Sequence[Reading]:  # noqa: ARG002
        """See `Children.readings`."""
        return make()

    async def media_type(self, source: InputSource) -> str:
        """See `Children.media_type`."""
        return checked_type(source.content[:HEAD_BYTES], source.media_type, source.display_name)

    async def digest(self, source: InputSource) -> str:
        """See `Children.digest`."""
        return f"sha256-{hashlib.sha256(source.content).hexdigest()}"

    def stop(self) -> None:
        """Ends the batchers."""
        for stations in self._stations.values():
            stations.stop()

    def _run(self, spec: JobSpec, kind: str) -> JobResult:
        attempt = Attempt(
            Memory(), job_id=kind, tenant="bench", number=1, lane=1, spec=spec, execution_timeout_s=24 * 3600
        )
        run = importlib.import_module(f"triptych.workers.kinds.{kind}").run
        return JobResult(**{kind: run(attempt, getattr(spec, kind), self._stations[kind], **self._limits[kind])})


async def forget(event: JobEvent) -> None:
    pass


def question_of(row: dict[str, Any], public: Path) -> ReasoningSpec:
    names = row.get("files") or [row["file"]]
    documents = [
        SourceDocument(input=InputSource(content=(public / name).read_bytes(), display_name=Path(name).name))
        for name in names
    ]
    return ReasoningSpec(documents=documents, question=row["question"])


def plain(result: ReasoningResult) -> str:
    """Gives the answer's words without citations; "not found" as the questions' authors would say it."""
    if result.answer.status == AnswerStatus.ANSWER_STATUS_NOT_FOUND:
        return "not found"
    text = result.answer.text
    for evidence in result.evidence:
        text = text.replace(f" [{evidence.evidence_id}]", "")
    return text


async def measure(rows: list[dict[str, Any]], public: Path, children: LocalChildren, score: Any) -> dict[str, Any]:
    totals = {"em": 0.0, "anls": 0.0, "lenient": 0.0}
    matches = {"exact": 0, "fuzzy": 0, "none": 0, "not found": 0}
    seconds = 0.0
    for row in rows:
        result = await answer(question_of(row, public), children, forget)
        said = plain(result)
        scores = score.qa_item(said, row["answers"], row.get("kind", ""))
        for name in totals:
            totals[name] += scores[name]
        first = result.evidence[0].quote_match if result.evidence else QuoteMatch.QUOTE_MATCH_UNSPECIFIED
        match = ("not found", "exact", "fuzzy", "none")[first]
        matches[match] += 1
        seconds += sum(stage.elapsed.ToMilliseconds() / 1000 for stage in result.stages if stage.stage == "answer")
        where = result.evidence[0].WhichOneof("anchor") if result.evidence else None
        print(" | ".join([row["id"], row["question"], row["answers"][0], said, match, str(where)]), flush=True)
    count = len(rows)
    return {
        "questions": count,
        **{name: round(value / count, 3) for name, value in totals.items()},
        "evidence": {name: round(value / count, 3) for name, value in matches.items()},
        "seconds_per_answer": round(seconds / count, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with score.py and public/")
    parser.add_argument("--questions", default="qa.jsonl", help="file in public/")
    parser.add_argument("--modality", default="", help="only these: document_image, pdf, speech, photo")
    parser.add_argument("--limit", type=int, default=0, help="a repeatable sample of so many; 0: all")
    parser.add_argument("--cache", type=Path, default=Path("build/answers"), help="folder of what was recognized")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each engine")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    found = importlib.util.spec_from_file_location("score", arguments.data / "score.py")
    if found is None or found.loader is None:
        parser.error(f"{arguments.data} holds no score.py")
    score = importlib.util.module_from_spec(found)
    found.loader.exec_module(score)
    public = arguments.data / "public"
    rows = [json.loads(line) for line in (public / arguments.questions).read_text("utf-8").splitlines()]
    rows = [row for row in rows if not arguments.modality or row.get("modality") == arguments.modality]
    random.Random(0).shuffle(rows)
    children = LocalChildren(Settings(engine_threads=arguments.threads), arguments.cache)
    try:
        print(json.dumps(asyncio.run(measure(rows[: arguments.limit or None], public, children, score))))
    finally:
        children.stop()


if __name__ == "__main__":
    main()
