"""Answers questions over several documents: compares what each says, or asks only the one that is meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from decimal import Decimal
from math import prod
from typing import Any

from triptych.v1.common_pb2 import TokenUsage
from triptych.v1.reasoning_pb2 import AnswerStatus, Evidence
from triptych.workers.reasoning.claims import uncitable
from triptych.workers.reasoning.comparisons import Comparison, comparison
from triptych.workers.reasoning.finding import Finder, Finding
from triptych.workers.reasoning.ingest import together
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.titles import meant, support, titled
from triptych.workers.reasoning.values import Value, only_value, spelled, values

FinderOf = Callable[[Sequence[Reading]], Coroutine[Any, Any, Finder]]


async def find(
    question: str,
    readings: Sequence[Reading],
    finder: FinderOf,
    *,
    max_evidence_count: int,
    complete: bool,
) -> Finding:
    """Answers a question over all documents together, unless it compares them or means one of them.

    Args:
        question: The caller's.
        readings: Everything that was recognized.
        finder: Gives what answers questions over some readings.
        max_evidence_count: Pieces of evidence of an answer, at most.
        complete: Whether all documents could be read; a comparison without one of them would be wrong.
    """
    by_id: dict[str, list[Reading]] = {}
    for reading in readings:
        by_id.setdefault(reading.document_id, []).append(reading)
    inquiry = _Inquiry(list(by_id.values()), finder, max_evidence_count)
    found = await inquiry.across(question, complete=complete) if len(by_id) > 1 else None
    if found is None:
        found = await inquiry.ask(await finder(readings), question)
        if len(by_id) > 1 and not found.groundedness:
            found = _supported(found, question, titled(found.value, inquiry.documents))
    return replace(found, usage=_total(inquiry.said))


class _Inquiry:
    """One question, and everything that is asked for its sake."""

    def __init__(self, documents: Sequence[Sequence[Reading]], finder: FinderOf, max_evidence_count: int) -> None:
        self.documents = documents
        self.said: list[Finding] = []
        self._finder = finder
        self._max_evidence_count = max_evidence_count

    async def ask(self, finder: Finder, question: str) -> Finding:
        """Asks, and remembers what it took."""
        found = await finder.find(question)
        self.said.append(found)
        return found

    async def across(self, question: str, *, complete: bool) -> Finding | None:
        """Compares the documents or asks the one that is meant; None if all have to be asked at once."""
        parts = comparison(question) if complete else None
        if parts and (found := await self._compare(parts)):
            return found
        if one := meant(question, self.documents):
            found = await self.ask(await self._finder(one), question)
            return found if found.status != AnswerStatus.ANSWER_STATUS_NOT_FOUND else None
        return None

    async def _compare(self, parts: Comparison) -> Finding | None:
        """Asks every document and makes an answer of the values; None if one of them has none that can be compared."""
        finders = await together(self._finder(readings) for readings in self.documents)
        said = await together(self.ask(one, parts.each) for one in finders)
        if not all(one.value and one.groundedness for one in said):
            return None
        marks = [f" [e{number}]" if number <= self._max_evidence_count else "" for number in range(1, len(said) + 1)]
        if parts.kind == "same":
            verdict = _same([one.value for one in said])
            both = " and ".join(f"{uncitable(one.value)}{mark}" for one, mark in zip(said, marks, strict=True))
            words = f"{verdict}: {' and '.join(one.value for one in said)}"
            return self._joined(words, f"{verdict}: {both}", said) if verdict else None
        found = [value for one in said if (value := _single_value(one.value))]
        if len(found) < len(said) or len({value.unit for value in found if value.unit}) > 1:
            return None
        if parts.kind == "sum":
            numbers = [value.number for value in found if value.number is not None]
            total = spelled(sum(numbers, Decimal(0)), said[0].value)
            return self._joined(total, f"{total}{''.join(marks)}", said) if len(numbers) == len(said) else None
        picked = _picked(found, most=parts.kind == "most")
        if picked is None:
            return None
        if not parts.rest:
            title = self.documents[picked][0].title
            return self._joined(title, f"{uncitable(title)}{marks[picked]}", said)
        answer = await self.ask(finders[picked], parts.rest)
        return answer if answer.status != AnswerStatus.ANSWER_STATUS_NOT_FOUND else None

    def _joined(self, value: str, text: str, said: Sequence[Finding]) -> Finding:
        """Gives an answer that rests on the first evidence of each finding, "e1", "e2", ... in their order."""
        evidence = [_numbered(one.evidence[0], number) for number, one in enumerate(said, 1)]
        sure = [one.confidence for one in said if one.confidence is not None]
        return Finding(
            status=AnswerStatus.ANSWER_STATUS_ANSWERED,
            text=text,
            value=value,
            evidence=evidence[: self._max_evidence_count],
            groundedness=sum(one.groundedness or 0 for one in said) / len(said),
            # It is right if all of them are.
            confidence=prod(sure) if len(sure) == len(said) else None,
            found_by=said[0].found_by,
        )


def _supported(found: Finding, question: str, readings: Sequence[Reading]) -> Finding:
    """Gives an answer that is a document's name with the line of that document that supports it, if there is one."""
    evidence = support(question, readings)
    if evidence is None:
        return found
    # How sure it is was weighed by words that stand on pages, which a file's name does not.
    text = f"{uncitable(found.value)} [e1]"
    return replace(found, text=text, evidence=[_numbered(evidence, 1)], groundedness=1.0, confidence=None)


def _same(said: Sequence[str]) -> str:
    """Gives "Yes" or "No", or nothing if that cannot be told: numbers and dates count, however they are spelled."""
    found = [only_value(one) for one in said]
    known = [one for one in found if one is not None]
    if len(known) == len(said):
        return "Yes" if all(one.same_as(known[0]) for one in known) else "No"
    if known:
        return ""
    return "Yes" if len({re.sub(r"[\W_]", "", one.casefold()) for one in said}) == 1 else "No"


def _single_value(text: str) -> Value | None:
    """Gives the one number or date of a text; None if there are none or several."""
    found = list(values(text))
    return found[0] if len(found) == 1 else None


def _picked(found: Sequence[Value], *, most: bool) -> int | None:
    """Gives the index of the greatest or least; None if they cannot be compared or several are."""
    dates = [value.date for value in found if value.date]
    numbers = [value.number for value in found if value.number is not None]
    ordered: Sequence[Any] = dates or numbers
    if len(ordered) < len(found) or (dates and numbers):
        return None
    wanted = max(ordered) if most else min(ordered)
    return ordered.index(wanted) if ordered.count(wanted) == 1 else None


def _numbered(evidence: Evidence, number: int) -> Evidence:
    found = Evidence()
    found.CopyFrom(evidence)
    found.evidence_id = f"e{number}"
    return found


def _total(said: Sequence[Finding]) -> TokenUsage:
    return TokenUsage(
        input_token_count=sum(one.usage.input_token_count for one in said),
        output_token_count=sum(one.usage.output_token_count for one in said),
    )
