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
from triptych.workers.reasoning.comparisons import Comparison, comparison
from triptych.workers.reasoning.finding import Finder, Finding
from triptych.workers.reasoning.ingest import together
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.titles import meant, support, titled
from triptych.workers.reasoning.values import Value, only_value, values

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
    documents = list(by_id.values())
    if len(documents) > 1:
        parts = comparison(question) if complete else None
        if parts and (found := await _compare(parts, documents, finder, max_evidence_count)):
            return found
        if one := meant(question, documents):
            found = await (await finder(one)).find(question)
            if found.status != AnswerStatus.ANSWER_STATUS_NOT_FOUND:
                return found
    found = await (await finder(readings)).find(question)
    named = titled(found.value, documents) if len(documents) > 1 and not found.groundedness else ()
    evidence = support(question, named) if named else None
    if evidence is None:
        return found
    evidence.evidence_id = "e1"
    return replace(found, text=f"{found.value} [e1]", evidence=[evidence], groundedness=1.0)


async def _compare(
    parts: Comparison, documents: Sequence[Sequence[Reading]], finder: FinderOf, max_evidence_count: int
) -> Finding | None:
    """Asks every document and makes an answer of the values; None if one of them says nothing that can be compared."""
    finders = await together(finder(readings) for readings in documents)
    said = await together(one.find(parts.each) for one in finders)
    if not all(one.value and one.groundedness for one in said):
        return None
    marks = [f" [e{number}]" if number <= max_evidence_count else "" for number in range(1, len(said) + 1)]
    if parts.kind == "same":
        verdict = _same([one.value for one in said])
        both = " and ".join(f"{one.value}{mark}" for one, mark in zip(said, marks, strict=True))
        return _joined(f"{verdict}: {both}", said, max_evidence_count) if verdict else None
    found = [value for one in said if (value := _single_value(one.value))]
    if len(found) < len(said) or len({value.unit for value in found if value.unit}) > 1:
        return None
    if parts.kind == "sum":
        numbers = [value.number for value in found if value.number is not None]
        if len(numbers) < len(said):
            return None
        total = _spelled(sum(numbers, Decimal(0)), said[0].value)
        return _joined(f"{total}{''.join(marks)}", said, max_evidence_count)
    picked = _picked(found, most=parts.kind == "most")
    if picked is None:
        return None
    if not parts.rest:
        return _joined(f"{documents[picked][0].title}{marks[picked]}", said, max_evidence_count)
    answer = await finders[picked].find(parts.rest)
    return answer if answer.status != AnswerStatus.ANSWER_STATUS_NOT_FOUND else None


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


def _spelled(number: Decimal, like: str) -> str:
    """Writes a number with the currency of another one."""
    written = only_value(like)
    if written is None or not written.unit:
        return str(number)
    signs = re.sub(r"[-−\d.,'’\s]+", "", like)
    return f"{signs}{number}" if like.lstrip("-−").startswith(signs) else f"{number} {signs}"


def _joined(text: str, said: Sequence[Finding], max_evidence_count: int) -> Finding:
    """Gives an answer that rests on the first evidence of each finding, "e1", "e2", ... in their order."""
    evidence = []
    for number, one in enumerate(said[:max_evidence_count], 1):
        found = Evidence()
        found.CopyFrom(one.evidence[0])
        found.evidence_id = f"e{number}"
        evidence.append(found)
    sure = [one.confidence for one in said if one.confidence is not None]
    return Finding(
        status=AnswerStatus.ANSWER_STATUS_ANSWERED,
        text=text,
        value=re.sub(r" \[e\d+\]", "", text),
        evidence=evidence,
        groundedness=sum(one.groundedness or 0 for one in said) / len(said),
        # It is right if all of them are.
        confidence=prod(sure) if len(sure) == len(said) else None,
        found_by=said[0].found_by,
        usage=TokenUsage(
            input_token_count=sum(one.usage.input_token_count for one in said),
            output_token_count=sum(one.usage.output_token_count for one in said),
        ),
    )
