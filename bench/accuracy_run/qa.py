"""How right answers from documents are, whether their evidence lies where it says, and what is not made up."""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from accuracy_run.answer_scores import Score, mean, score
from accuracy_run.asked import Question, questions, swapped
from accuracy_run.manifest import Item, items
from accuracy_run.places import lies_there
from accuracy_run.service import service

from triptych.client import Client, specs
from triptych.core.errors import TriptychError
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_pb2 import OcrConfig
from triptych.v1.reasoning_pb2 import AnswerStatus, Evidence, QuoteMatch, ReasoningConfig, ReasoningResult
from triptych.v1.transcription_pb2 import TranscriptionConfig
from triptych.v1.vision_pb2 import GenerationConfig

IMAGE, PDF, SPEECH = "document_image", "pdf", "speech"
KEY_FIELD = "key-field"
WORKERS = ("reasoning", "ocr", "vision", "transcription")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of one question.

    Attributes:
        said: The answer's words without citations; empty if there is none.
        score: Against the right answers; all zero if the job failed.
        confidence: As the service gives it; None: it gives none.
        evidence: What has a place.
        misplaced: Of these, what does not lie there.
        unplaced: Words of the answer for which the service names no place.
        failure: Why the job failed, or empty.
    """

    question: Question
    said: str
    score: Score
    confidence: float | None = None
    evidence: tuple[Evidence, ...] = ()
    misplaced: tuple[Evidence, ...] = ()
    unplaced: int = 0
    failure: str = ""

    @property
    def abstained(self) -> bool:
        """Whether the service says that the document does not say."""
        return not self.said and not self.failure

    def line(self) -> str:
        """Gives it in one line."""
        right = self.question.answers[0] if self.question.answers else "-"
        sure = "-" if self.confidence is None else f"{self.confidence:.2f}"
        figures = (
            f"ANLS {self.score.anls:.2f} exact {self.score.exact:.0f} lenient {self.score.lenient:.0f} sure {sure}"
        )
        wrong = "".join(f"  MISPLACED {one.quote!r}" for one in self.misplaced)
        return f"{self.question.id}  {self.question.text}  [{right}]  {self.failure or self.said}  {figures}{wrong}"


def last_line(found: Sequence[Answered], silent: Sequence[Answered]) -> str:
    """Gives the figures as programs read them: of document images, but evidence of all that was asked."""
    told = zip(verdict(found, silent).items(), (3, 3, 2, 2), strict=True)
    return " ".join(f"{name} {value:.{digits}f}" for (name, value), digits in told)


def verdict(found: Sequence[Answered], silent: Sequence[Answered]) -> dict[str, float]:
    """Gives mean ANLS and the exact share, the share of evidence that lies where it says, and of abstentions.

    The first two are of the questions over document images, if there are any, else of all.

    Args:
        found: Questions that have an answer.
        silent: Those that have none.
    """
    images = [one for one in found if one.question.item.modality == IMAGE] or found
    placed = sum(len(one.evidence) for one in found)
    return {
        "ANLS": mean(one.score.anls for one in images),
        "exact": mean(one.score.exact for one in images),
        "evidence": 1 - sum(len(one.misplaced) for one in found) / placed if placed else float("nan"),
        "abstained": mean(one.abstained for one in silent),
    }


def table(found: Sequence[Answered]) -> str:
    """Gives the figures by modality, and by kind of question."""
    groups: dict[str, list[Answered]] = defaultdict(list)
    for one in found:
        groups[one.question.item.modality].append(one)
        groups[f"{one.question.item.modality}, {one.question.kind or 'other'}"].append(one)
    lines = ["| | questions | ANLS | exact | lenient | no answer | evidence |", "|---|---|---|---|---|---|---|"]
    for name, group in sorted(groups.items()):
        figures = (mean(getattr(one.score, figure) for one in group) for figure in ("anls", "exact", "lenient"))
        placed = sum(len(one.evidence) for one in group)
        there = placed - sum(len(one.misplaced) for one in group)
        cells = [str(len(group)), *(f"{value:.3f}" for value in figures)]
        cells += [str(sum(one.abstained for one in group)), f"{there} of {placed}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reliability(found: Sequence[Answered], bins: int = 5) -> str:
    """Gives, by how sure the service is, how often an answer is right (lenient)."""
    lines = ["| sure | answers | mean | right |", "|---|---|---|---|"]
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        last = number == bins - 1
        group = [one for one in found if one.said and one.confidence is not None]
        group = [one for one in group if low <= (one.confidence or 0) < high or (last and one.confidence == 1)]
        sure, right = mean(one.confidence or 0 for one in group), mean(one.score.lenient for one in group)
        lines.append(f"| {low:.1f} to {high:.1f} | {len(group)} | {sure:.2f} | {right:.2f} |")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what only this kind has."""
    parser.add_argument("--modality", action="append", choices=(IMAGE, PDF, SPEECH), help="default: all of them")
    parser.add_argument("--no-swapped", action="store_true", help="ask nothing that cannot be answered")
    parser.add_argument("--min-confidence", type=float, help="ReasoningConfig.min_confidence; default: the plan's")
    parser.add_argument("--min-anls", type=float, help="exit with 1 if it is lower (rounded as printed)")
    parser.add_argument("--min-exact", type=float, help="the same of exact answers")
    parser.add_argument("--min-key-fields", type=float, help="the same of lenient answers to key fields of images")
    parser.add_argument("--min-evidence", type=float, help="the same of evidence that lies where it says")
    parser.add_argument("--min-abstained", type=float, help="the same of swapped questions without an answer")


def run(given: argparse.Namespace) -> int:
    """Measures, and prints what was found; gives the exit code."""
    everything = items(given.manifest, *(given.modality or (IMAGE, PDF, SPEECH)))
    asked = questions(everything)
    silent = [] if given.no_swapped else swapped(asked, everything)
    asked, silent = ([one for one in some if one.id.startswith(given.only)] for some in (asked, silent))
    stack = service(given.target, given.api_key, WORKERS[0], beside=WORKERS[1:])
    with stack as client, ThreadPoolExecutor(given.callers) as pool:
        session = _Session(client, given)
        found = list(pool.map(session.ask, asked))
        unanswered = list(pool.map(session.ask, silent))
    if given.predictions:
        told = {one.question.id: one.said for one in (*found, *unanswered)}
        given.predictions.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if given.per_item:
        for one in (*found, *unanswered):
            print(one.line())
    print(table(found))
    print(reliability(found))
    failed = [one for one in (*found, *unanswered) if one.failure]
    for one in failed:
        print(f"{one.question.id} failed: {one.failure}")
    fields = _key_fields(found)
    print(f"key fields of images, lenient {fields:.3f}; words without a place {sum(one.unplaced for one in found)}")
    print(last_line(found, unanswered))
    figures = {**verdict(found, unanswered), "key_fields": fields}
    return int(bool(failed) or broken(figures, given))


def broken(figures: dict[str, float], given: argparse.Namespace) -> bool:
    """Whether a figure, as it is printed, is under its bound; one that is not there is."""
    digits = {"evidence": 2, "abstained": 2}
    bounds = {name: getattr(given, f"min_{name.lower()}") for name in figures}
    return any(
        bound is not None and not round(figures[name], digits.get(name, 3)) >= bound for name, bound in bounds.items()
    )


def _key_fields(found: Sequence[Answered]) -> float:
    fields = [one for one in found if one.question.kind == KEY_FIELD and one.question.item.modality == IMAGE]
    return mean(one.score.lenient for one in fields)


@dataclass(slots=True)
class _Session:
    """Asks a service; what it recognizes for the checks is asked for once a file."""

    client: Client
    given: argparse.Namespace
    recognized: dict[str, JobResult] = field(default_factory=dict)

    def ask(self, question: Question) -> Answered:
        config = ReasoningConfig(generation=GenerationConfig(model=self.given.model))
        if self.given.min_confidence is not None:
            config.min_confidence = self.given.min_confidence
        try:
            result = self.client.answer(question.text, [question.item.path], config, timeout_s=3600)
            placed = [one for one in result.evidence if one.quote_match != QuoteMatch.QUOTE_MATCH_NONE]
            misplaced = [one for one in placed if question.answers and not self._lies_there(one, question)]
        except TriptychError as error:
            failure = f"{error.reason}: {error.message}"
            return Answered(question=question, said="", score=Score(anls=0, exact=0, lenient=0), failure=failure)
        said = words(result)
        return Answered(
            question=question,
            said=said,
            score=score(said, question.answers, question.kind),
            confidence=result.answer.confidence if result.answer.HasField("confidence") else None,
            evidence=tuple(placed),
            misplaced=tuple(misplaced),
            unplaced=len(result.evidence) - len(placed),
        )

    def _lies_there(self, evidence: Evidence, question: Question) -> bool:
        true = "\n".join([question.item.true_text() or "", *question.answers])
        return lies_there(evidence, true, self._once(question.item, self._recognize))

    def _once(self, item: Item, recognize: Callable[[Item], JobResult]) -> JobResult:
        if item.id not in self.recognized:
            self.recognized[item.id] = recognize(item)
        return self.recognized[item.id]

    def _recognize(self, item: Item) -> JobResult:
        [source] = self.client.sources([item.path])
        if item.modality == SPEECH:
            spec = specs.transcription(source, TranscriptionConfig(enable_word_timestamps=True))
        else:
            spec = specs.ocr(source, OcrConfig(enable_words=True))
        job = self.client.wait_job(self.client.submit(spec).name, timeout_s=3600)
        return self.client.result(job)


def words(result: ReasoningResult) -> str:
    """Gives the answer's words without citations; nothing if the documents do not say."""
    if result.answer.status == AnswerStatus.ANSWER_STATUS_NOT_FOUND:
        return ""
    text = result.answer.text
    for evidence in result.evidence:
        text = text.replace(f" [{evidence.evidence_id}]", "")
    return text
