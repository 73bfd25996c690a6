"""How right answers are to questions over several files at once.

Its manifest has an object a line: `id`, `files` (relative to the manifest), `question`, `answers` (all that are right)
and, where it is known, `kind`.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from accuracy_run.answer_scores import Score, mean, score
from accuracy_run.qa import WORKERS, words
from accuracy_run.service import service

from triptych.client import Client
from triptych.core.errors import TriptychError
from triptych.v1.reasoning_pb2 import QuoteMatch, ReasoningConfig
from triptych.v1.vision_pb2 import GenerationConfig

TIMEOUT_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question over some files.

    Attributes:
        files: In the order in which they are sent.
        answers: All that are right.
        kind: Such as "retrieval", "boolean"; may be empty.
    """

    id: str
    files: tuple[Path, ...]
    text: str
    answers: tuple[str, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of one question.

    Attributes:
        said: The answer's words without citations; empty if there is none.
        score: Against the right answers; all zero if the job failed.
        cited: Names of the files in which its evidence lies.
        failure: Why the job failed, or empty.
    """

    question: Question
    said: str
    score: Score
    cited: tuple[str, ...] = ()
    failure: str = ""

    def line(self) -> str:
        """Gives it in one line."""
        asked = self.question
        figures = f"ANLS {self.score.anls:.2f} exact {self.score.exact:.0f} lenient {self.score.lenient:.0f}"
        cited = f"  in {', '.join(self.cited)}" if self.cited else ""
        return f"{asked.id}  {asked.text}  [{asked.answers[0]}]  {self.failure or self.said or '-'}{cited}  {figures}"


def questions(manifest: Path) -> list[Question]:
    """Reads them in the manifest's order."""
    return [
        Question(
            id=told["id"],
            files=tuple(manifest.parent / name for name in told["files"]),
            text=told["question"],
            answers=tuple(map(str, told["answers"])),
            kind=told.get("kind") or "",
        )
        for told in map(json.loads, filter(str.strip, manifest.read_text("utf-8").splitlines()))
    ]


def last_line(found: Sequence[Answered]) -> str:
    """Gives the figures as programs read them."""
    anls, exact = mean(one.score.anls for one in found), mean(one.score.exact for one in found)
    return f"ANLS {anls:.3f} exact {exact:.3f} questions {len(found)}"


def table(found: Sequence[Answered]) -> str:
    """Gives the figures by kind of question."""
    groups: dict[str, list[Answered]] = defaultdict(list)
    for one in found:
        groups[one.question.kind or "other"].append(one)
    lines = ["| kind | questions | ANLS | exact | lenient | no answer |", "|---|---|---|---|---|---|"]
    for name, group in sorted(groups.items()):
        figures = (mean(getattr(one.score, figure) for one in group) for figure in ("anls", "exact", "lenient"))
        silent = sum(not one.said for one in group)
        lines.append(f"| {name} | {len(group)} | {' | '.join(f'{value:.3f}' for value in figures)} | {silent} |")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what only this kind has."""
    parser.add_argument("--min-anls", type=float, help="exit with 1 if it is lower (rounded to a thousandth)")


def run(given: argparse.Namespace) -> int:
    """Measures, and prints what was found; gives the exit code."""
    asked = [question for question in questions(given.manifest) if question.id.startswith(given.only)]
    stack = service(given.target, given.api_key, WORKERS[0], beside=WORKERS[1:])
    with stack as client, ThreadPoolExecutor(given.callers) as pool:
        found = list(pool.map(lambda question: _ask(client, question, given.model), asked))
    if given.predictions:
        told = {one.question.id: one.said for one in found}
        given.predictions.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if given.per_item:
        for one in found:
            print(one.line())
    print(table(found))
    failed = [one for one in found if one.failure]
    for one in failed:
        print(f"{one.question.id} failed: {one.failure}")
    print(last_line(found))
    anls = mean(one.score.anls for one in found)
    return int(bool(failed) or (given.min_anls is not None and not round(anls, 3) >= given.min_anls))


def _ask(client: Client, question: Question, model: str) -> Answered:
    config = ReasoningConfig(generation=GenerationConfig(model=model))
    try:
        result = client.answer(question.text, question.files, config, timeout_s=TIMEOUT_S)
    except TriptychError as error:
        failure = f"{error.reason}: {error.message}"
        return Answered(question=question, said="", score=Score(anls=0, exact=0, lenient=0), failure=failure)
    names = {f"d{number}": file.name for number, file in enumerate(question.files, 1)}
    placed = [one for one in result.evidence if one.quote_match != QuoteMatch.QUOTE_MATCH_NONE]
    said = words(result)
    return Answered(
        question=question,
        said=said,
        score=score(said, question.answers, question.kind),
        cited=tuple(dict.fromkeys(names.get(one.document_id, one.document_id) for one in placed)),
    )
