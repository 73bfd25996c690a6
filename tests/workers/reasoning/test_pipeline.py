"""From a request to an answer: documents, events, errors, cancellation."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable

import pytest
from workers.reasoning.paper import page, paragraph, recording

from triptych.core.errors import (
    FeatureDisabled,
    FieldInvalid,
    MediaCorrupt,
    QueueFull,
    StageFailed,
    TriptychError,
    WorkerLost,
)
from triptych.core.media import sniff
from triptych.core.pipelines.catalogue import Pipelines
from triptych.core.settings import Settings
from triptych.v1.common_pb2 import InputSource, ModelRef, PageRange, TimeRange, TokenUsage
from triptych.v1.job_pb2 import JobEvent, JobResult, JobSpec
from triptych.v1.ocr_pb2 import OcrPage, OcrResult
from triptych.v1.reasoning_pb2 import (
    AnswerStatus,
    QuoteMatch,
    ReasoningConfig,
    ReasoningResult,
    ReasoningSpec,
    ReasoningStrategy,
    SourceDocument,
)
from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.v1.vision_pb2 import FinishReason, GenerationConfig, VisionResult
from triptych.workers.reasoning.children import ChildOutcome, OnProgress
from triptych.workers.reasoning.finding import NOT_FOUND
from triptych.workers.reasoning.pipeline import answer

PNG, PDF, WAV = b"\x89PNG\r\n\x1a\n", b"%PDF-1.7\n", b"RIFF\0\0\0\0WAVE"
INVOICE = page((0.1, 0.1, "Invoice number"), (0.5, 0.1, "INV-100"), (0.1, 0.13, "Total due"), (0.5, 0.13, "$610.00"))
TALK = recording("They began to print in the monastery of", "Subiaco, and then in Rome.")

SHIPPED_ONLY = Pipelines.load(Settings(_env_file=None))

Given = OcrResult | TranscriptionResult | TriptychError


class ScriptedChildren:
    """Gives each input its recorded result; the model says what the test wants it to say."""

    def __init__(self, results: dict[bytes, Given], says: str | Callable[[str], str] = "not found") -> None:
        self.results = results
        self.says = says
        self.specs: list[JobSpec] = []
        self.gates: dict[bytes, asyncio.Event] = {}
        self.both_started = asyncio.Event()
        self.cancelled: list[str] = []
        self.finish = FinishReason.FINISH_REASON_STOP
        self.units: Counter[str] = Counter()

    async def run(self, spec: JobSpec, *, stage: str, on_progress: OnProgress | None = None) -> ChildOutcome:
        self.specs.append(spec)
        job = f"jobs/{len(self.specs)}"
        if spec.HasField("vision"):
            prompt = spec.vision.messages[-1].parts[0].text
            text = self.says if isinstance(self.says, str) else self.says(prompt)
            usage = TokenUsage(input_token_count=7, output_token_count=3)
            result = JobResult(vision=VisionResult(text=text, finish_reason=self.finish, usage=usage))
            return ChildOutcome(job=job, result=result, elapsed_s=2, model=ModelRef(model="reader"), cached=True)
        source = (spec.ocr if spec.HasField("ocr") else spec.transcription).input.content
        try:
            if len(self.specs) == 2:
                self.both_started.set()
            if source in self.gates:
                await self.gates[source].wait()
        except asyncio.CancelledError:
            self.cancelled.append(job)
            raise
        given = self.results[source]
        if isinstance(given, TriptychError):
            raise given
        result = JobResult(ocr=given) if isinstance(given, OcrResult) else JobResult(transcription=given)
        return ChildOutcome(job=job, result=result, elapsed_s=0.5, model=given.model)

    async def compute(self, unit, work):
        self.units[unit] += 1
        assert self.units[unit] == 1, f"{unit} is in hand already"
        assert " " not in unit
        try:
            return await asyncio.to_thread(work)
        finally:
            self.units[unit] -= 1

    def check(self) -> None:
        """Nothing stops it but the end of its task."""

    async def readings(self, unit, key, make):
        return await self.compute(unit, make)

    async def media_type(self, source: InputSource) -> str:
        return sniff(source.content)

    async def digest(self, source: InputSource) -> str:
        return f"sha256-{hashlib.sha256(source.content).hexdigest()}"


class Log:
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[JobEvent] = []

    async def __call__(self, event: JobEvent) -> None:
        self.events.append(event)


def pages(*given: OcrPage) -> OcrResult:
    return OcrResult(model=ModelRef(model="ocr"), source_page_count=len(given), pages=given)


def request(*contents: bytes, question: str = "What is the invoice number?", **config: object) -> ReasoningSpec:
    documents = [SourceDocument(input=InputSource(content=content)) for content in contents]
    return ReasoningSpec(documents=documents, question=question, config=ReasoningConfig(**config))  # type: ignore[arg-type]


async def ask(spec: ReasoningSpec, children: ScriptedChildren, pipelines: Pipelines = SHIPPED_ONLY) -> ReasoningResult:
    return await answer(spec, children, Log(), pipelines)


async def test_a_question_over_a_page_is_answered_with_its_place() -> None:
    children = ScriptedChildren({PNG: pages(INVOICE)}, "INV-100")
    log = Log()
    result = await answer(request(PNG), children, log, SHIPPED_ONLY)
    assert result.answer.text == "INV-100 [e1]"
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_ANSWERED
    assert result.answer.groundedness == 1
    (evidence,) = result.evidence
    assert (evidence.evidence_id, evidence.document_id, evidence.quote) == ("e1", "d1", "INV-100")
    assert evidence.page.page_number == 1
    assert result.usage.output_token_count == 3
    (document,) = result.documents
    assert (document.media_type, document.page_count) == ("image/png", 1)
    assert document.digest == f"sha256-{hashlib.sha256(PNG).hexdigest()}"
    assert [stage.stage for stage in result.stages] == ["ingest", "ocr", "retrieval", "answer", "verify"]
    assert [stage.job for stage in result.stages] == ["", "jobs/1", "", "jobs/2", ""]
    assert (result.stages[3].model.model, result.stages[3].elapsed.seconds, result.stages[3].cached) == (
        "reader",
        2,
        True,
    )
    assert [event.stage for event in log.events if event.HasField("stage")] == list(result.stages)
    percents = [event.progress.percent for event in log.events if event.HasField("progress")]
    assert percents == sorted(percents)
    assert percents[-1] == 100


async def test_pages_and_recordings_share_one_prompt_and_ask_for_words() -> None:
    children = ScriptedChildren({PDF: pages(INVOICE), WAV: TALK}, "Subiaco")
    spec = request(PDF, WAV, question="In which monastery did they print?")
    spec.documents[0].pages.append(PageRange(first_page=1, last_page=1))
    spec.documents[1].clips.append(TimeRange(start_ms=0, end_ms=2000))
    spec.documents[1].input.display_name = "talk.wav"
    result = await ask(spec, children)
    (evidence,) = result.evidence
    assert (evidence.document_id, evidence.quote) == ("d2", "Subiaco")
    assert (evidence.audio.start_ms, evidence.audio.segment_index) == (4000, 1)
    assert [document.audio_duration_ms for document in result.documents] == [0, 2000]
    ocr, heard, vision = children.specs
    assert ocr.ocr.config.enable_words
    assert ocr.ocr.pages[0].last_page == 1
    assert heard.transcription.config.enable_word_timestamps
    assert heard.transcription.config.clips[0].end_ms == 2000
    prompt = vision.vision.messages[-1].parts[0].text
    assert "Invoice number | INV-100" in prompt
    assert "Document talk.wav, recording:" in prompt


async def test_a_password_goes_to_the_child_that_reads_the_document_alone() -> None:
    children = ScriptedChildren({PNG: pages(INVOICE)}, "INV-100")
    spec = request(PNG)
    spec.documents[0].input.password = "secret"
    await ask(spec, children)
    reads, answers = children.specs
    assert reads.ocr.input.password == "secret"
    assert b"secret" not in answers.SerializeToString()


async def test_documents_are_read_at_the_same_time() -> None:
    children = ScriptedChildren({PDF: pages(INVOICE), PNG: pages(INVOICE)}, "INV-100")
    children.gates = {PDF: asyncio.Event(), PNG: asyncio.Event()}
    task = asyncio.create_task(ask(request(PDF, PNG), children))
    await children.both_started.wait()
    children.gates[PNG].set()
    children.gates[PDF].set()
    result = await task
    assert [document.media_type for document in result.documents] == ["application/pdf", "image/png"]


async def test_words_that_are_nowhere_are_said_to_be_not_found() -> None:
    spec = request(PNG, question="Who pays it?", min_confidence=0)
    result = await ask(spec, ScriptedChildren({PNG: pages(INVOICE)}, "INV-999"))
    assert result.answer.text == "INV-999"
    assert result.answer.groundedness == 0
    (evidence,) = result.evidence
    assert (evidence.quote, evidence.quote_match) == ("INV-999", QuoteMatch.QUOTE_MATCH_NONE)
    assert evidence.WhichOneof("anchor") is None


async def test_not_found_has_no_evidence() -> None:
    result = await ask(request(PNG, question="Who pays it?"), ScriptedChildren({PNG: pages(INVOICE)}, "Not found."))
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_NOT_FOUND
    assert result.answer.text == NOT_FOUND
    assert not result.answer.HasField("groundedness")
    assert not result.evidence


async def test_documents_without_text_do_not_bother_the_model() -> None:
    children = ScriptedChildren({PNG: pages(page())})
    result = await ask(request(PNG), children)
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_NOT_FOUND
    assert [stage.stage for stage in result.stages] == ["ingest", "ocr", "retrieval", "verify"]


async def test_an_answer_that_was_cut_is_partial() -> None:
    children = ScriptedChildren({PNG: pages(INVOICE)}, "INV-100")
    children.finish = FinishReason.FINISH_REASON_LENGTH
    assert (await ask(request(PNG), children)).answer.status == AnswerStatus.ANSWER_STATUS_PARTIAL


async def test_evidence_is_limited() -> None:
    children = ScriptedChildren({PNG: pages(INVOICE)}, "- INV-100\n- $610.00")
    result = await ask(request(PNG, max_evidence_count=1), children)
    assert [evidence.quote for evidence in result.evidence] == ["INV-100"]


async def test_a_long_document_is_cut_to_what_matters() -> None:
    sheets = [
        paragraph(*[f"Point {n}.{i} was put off to the next meeting of the committee" for i in range(20)], number=n)
        for n in range(1, 31)
    ]
    sheets[16] = paragraph("The warranty of the pump ends after eighteen months", number=17)

    def read(prompt: str) -> str:
        assert len(prompt) < 6000
        return "eighteen months" if "eighteen months" in prompt else "not found"

    result = await ask(
        request(PDF, question="When does the warranty of the pump end?"), ScriptedChildren({PDF: pages(*sheets)}, read)
    )
    assert result.evidence[0].page.page_number == 17


async def test_a_failed_document_fails_the_job() -> None:
    children = ScriptedChildren({PDF: MediaCorrupt("the file ends early"), PNG: pages(INVOICE)})
    with pytest.raises(StageFailed, match="document 'd1' failed: the file ends early") as caught:
        await ask(request(PDF, PNG), children)
    assert caught.value.metadata == {"document_id": "d1", "stage": "ocr", "reason": "MEDIA_CORRUPT"}


async def test_a_failed_document_is_left_out_if_the_caller_allows_it() -> None:
    children = ScriptedChildren({PDF: MediaCorrupt("the file ends early"), PNG: pages(INVOICE)}, "INV-100")
    result = await ask(request(PDF, PNG, allow_partial_documents=True), children)
    assert result.answer.text == "INV-100 [e1]"
    assert result.evidence[0].document_id == "d2"
    assert [document.error.message for document in result.documents] == ["the file ends early", ""]


async def test_bytes_that_nobody_can_read_are_a_document_error_too() -> None:
    children = ScriptedChildren({PNG: pages(INVOICE)}, "INV-100")
    result = await ask(request(b"hello", PNG, allow_partial_documents=True), children)
    assert [document.HasField("error") for document in result.documents] == [True, False]


async def test_parts_of_what_cannot_be_read_are_no_fault_of_the_request_where_that_is_allowed() -> None:
    spec = request(b"hello", PNG, allow_partial_documents=True)
    spec.documents[0].clips.append(TimeRange(start_ms=5))
    result = await ask(spec, ScriptedChildren({PNG: pages(INVOICE)}, "INV-100"))
    assert result.answer.text == "INV-100 [e1]"
    assert [document.HasField("error") for document in result.documents] == [True, False]


async def test_a_document_on_which_workers_died_is_left_out_if_the_caller_allows_it() -> None:
    class Deadly(ScriptedChildren):
        async def compute(self, unit, work):
            if unit == "pages:d1":
                raise WorkerLost("pages:d1 is set aside: 3 workers died on it")
            return await super().compute(unit, work)

    children = Deadly({PDF: pages(INVOICE), PNG: pages(INVOICE)}, "INV-100")
    result = await ask(request(PDF, PNG, allow_partial_documents=True), children)
    assert result.evidence[0].document_id == "d2"
    assert [document.error.message for document in result.documents] == [
        "pages:d1 is set aside: 3 workers died on it",
        "",
    ]
    with pytest.raises(StageFailed, match="set aside"):
        await ask(request(PDF, PNG), children)


async def test_a_request_of_which_no_document_can_be_read_fails() -> None:
    children = ScriptedChildren({PDF: MediaCorrupt("the file ends early")})
    with pytest.raises(StageFailed, match="the file ends early"):
        await ask(request(PDF, allow_partial_documents=True), children)


async def test_a_failed_page_is_told_and_the_others_are_used() -> None:
    broken = OcrPage(page_number=2, error=MediaCorrupt("no pixels").to_status())
    result = await ask(request(PDF), ScriptedChildren({PDF: pages(INVOICE, broken)}, "INV-100"))
    assert (result.documents[0].page_count, result.documents[0].error.message) == (1, "page 2: no pixels")
    assert result.answer.text == "INV-100 [e1]"


async def test_a_document_of_failed_pages_only_has_failed() -> None:
    broken = OcrPage(page_number=2, error=MediaCorrupt("no pixels").to_status())
    with pytest.raises(StageFailed, match="page 2: no pixels"):
        await ask(request(PDF), ScriptedChildren({PDF: pages(broken)}))


async def test_what_a_retry_may_cure_is_no_fault_of_a_document() -> None:
    children = ScriptedChildren({PDF: QueueFull("the lane is full", retry_after_s=1), PNG: pages(INVOICE)})
    with pytest.raises(QueueFull):
        await ask(request(PDF, PNG, allow_partial_documents=True), children)


async def test_the_first_failure_cancels_the_other_children() -> None:
    children = ScriptedChildren({PDF: pages(INVOICE), PNG: MediaCorrupt("the file ends early")})
    children.gates = {PDF: asyncio.Event()}
    with pytest.raises(StageFailed):
        await ask(request(PDF, PNG), children)
    assert children.cancelled == ["jobs/1"]


async def test_cancelling_stops_every_child() -> None:
    children = ScriptedChildren({PDF: pages(INVOICE), PNG: pages(INVOICE)})
    children.gates = {PDF: asyncio.Event(), PNG: asyncio.Event()}
    task = asyncio.create_task(ask(request(PDF, PNG), children))
    await children.both_started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(children.cancelled) == ["jobs/1", "jobs/2"]


def _named(*names: str) -> ReasoningSpec:
    spec = request(*[PNG] * len(names))
    for document, name in zip(spec.documents, names, strict=True):
        document.document_id = name
    return spec


@pytest.mark.parametrize(
    ("spec", "error", "field"),
    [
        (request(), FieldInvalid, "documents"),
        (request(*[PNG] * 33), FieldInvalid, "documents"),
        (request(PNG, question=" "), FieldInvalid, "question"),
        (request(PNG, question="x" * 8001), FieldInvalid, "question"),
        (_named("a", "a"), FieldInvalid, "documents[1].document_id"),
        (_named("d2", ""), FieldInvalid, "documents[1].document_id"),
        (_named("a b"), FieldInvalid, "documents[0].document_id"),
        (ReasoningSpec(documents=[SourceDocument()], question="?"), FieldInvalid, "documents[0].input"),
        (request(PNG, max_evidence_count=0), FieldInvalid, "config.max_evidence_count"),
        (request(PNG, max_evidence_count=51), FieldInvalid, "config.max_evidence_count"),
        (
            request(PNG, generation=GenerationConfig(output_json_schema="{}")),
            FieldInvalid,
            "config.generation.output_json_schema",
        ),
        (
            ReasoningSpec(documents=request(PNG).documents, output_json_schema='{"type": "object"}'),
            FieldInvalid,
            "output_json_schema",
        ),
        (request(PNG, min_confidence=1.5), FieldInvalid, "config.min_confidence"),
        (request(PNG, strategy=ReasoningStrategy.REASONING_STRATEGY_TEXT_AND_IMAGES), FeatureDisabled, None),
    ],
)
async def test_a_wrong_request_is_refused_before_anything_runs(
    spec: ReasoningSpec, error: type[TriptychError], field: str | None
) -> None:
    children = ScriptedChildren({PNG: pages(INVOICE)})
    with pytest.raises(error) as caught:
        await ask(spec, children)
    assert caught.value.metadata.get("field") == field
    assert not children.specs


@pytest.mark.parametrize(("content", "field"), [(WAV, "documents[0].pages"), (PNG, "documents[0].clips")])
async def test_parts_that_a_document_cannot_have_are_refused(content: bytes, field: str) -> None:
    spec = request(content)
    if content == WAV:
        spec.documents[0].pages.append(PageRange(first_page=1))
    else:
        spec.documents[0].clips.append(TimeRange(end_ms=5))
    with pytest.raises(FieldInvalid) as caught:
        await ask(spec, ScriptedChildren({WAV: TALK, PNG: pages(INVOICE)}))
    assert caught.value.metadata["field"] == field
