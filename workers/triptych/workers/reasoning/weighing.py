"""Decides what a value is, from what labels, tables and the model say of it, and how likely that is right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from triptych.v1.reasoning_pb2 import AnswerStatus, Evidence
from triptych.workers.reasoning.candidates import Candidate, Outcome
from triptych.workers.reasoning.labelled import Hit

# Nothing that was read by machines is surer.
MOST = 0.98


def settled(labels: Sequence[Candidate], hits: Sequence[Hit]) -> bool:
    """Whether the labels alone decide: a sure one in some document, and no other exact one that says another thing."""
    exact = [label for label, hit in zip(labels, hits, strict=True) if hit.exact]
    return any(hit.sure for hit in hits) and (_one(exact) or _contradict(exact))


def weighed(labels: Sequence[Candidate], hits: Sequence[Hit], model: Candidate | None) -> Outcome:
    """Gives what the value is.

    1. Documents whose exact labels say different things contradict each other, whatever the model says; so do documents
       whose sentences about it have different values, if the model gives one of these.
    2. Whoever agrees makes it surer: the likelihood that all of them are wrong is the product.
    3. Labels that only resemble what is wanted are heard where the model says the same, and nowhere else.
    4. Where an exact label and the model disagree, the likelier holds, and is less so the likelier the other is.
    5. Two exact labels of one document with different values, and a model that says neither: a conflict.
    """
    exact = [label for label, hit in zip(labels, hits, strict=True) if hit.exact]
    if _contradict(exact):
        return _conflict(exact)
    told = [label for label, hit in zip(labels, hits, strict=True) if hit.told]
    if model and not exact and _contradict(told) and any(_same(one.value, model.value) for one in told):
        return _conflict(sorted(told, key=lambda one: not _same(one.value, model.value)))
    agreeing = [label for label in exact or labels if model and _same(label.value, model.value)]
    if model and (agreeing or not exact):
        return _given([*sorted(agreeing, key=lambda label: -label.likely)[:1], model])
    if not exact:
        return Outcome()
    if not _one(exact):
        return _conflict(exact if model is None else [model, *exact])
    if model is None:
        return _given(exact[:1])
    best, other = sorted((max(exact, key=lambda label: label.likely), model), key=lambda one: -one.likely)
    odds = best.likely * (1 - other.likely) / max(1e-6, (1 - best.likely) * other.likely)
    return _given([best], doubted=odds / (1 + odds))


def _given(candidates: Sequence[Candidate], *, doubted: float = 1.0) -> Outcome:
    """Makes an outcome of candidates that agree; they are different people, so what they miss is independent."""
    wrong = 1.0
    for candidate in candidates:
        wrong *= 1 - candidate.likely
    first = next((one for one in candidates if one.evidence), candidates[0])
    return Outcome(
        status=AnswerStatus.ANSWER_STATUS_ANSWERED,
        value=first.value,
        raw=first.raw,
        confidence=min(MOST, 1 - wrong, doubted),
        evidence=first.evidence,
        found_by=tuple(sorted({one.by for one in candidates})),
    )


def _conflict(candidates: Sequence[Candidate]) -> Outcome:
    sides: list[list[Candidate]] = []
    for candidate in candidates:
        side = next((some for some in sides if _same(some[0].value, candidate.value)), None)
        if side is None:
            sides.append([candidate])
        elif all(one.document != candidate.document for one in side):
            side.append(candidate)
    # sorted() keeps the order of equals: that of the request.
    sides = sorted(sides, key=lambda side: -len(side))
    first = sides[0][0]
    return Outcome(
        status=AnswerStatus.ANSWER_STATUS_CONFLICTING,
        value=first.value,
        raw=first.raw,
        confidence=first.likely * len(sides[0]) / sum(map(len, sides)),
        evidence=_by_turns([[one for candidate in side for one in candidate.evidence] for side in sides]),
        found_by=tuple(sorted({one.by for side in sides for one in side})),
    )


def _by_turns(sides: Sequence[Sequence[Evidence]]) -> list[Evidence]:
    """Puts one of each side first, then another of each: where it is cut off, the other side is still seen."""
    return [one for turn in zip_longest(*sides) for one in turn if one is not None]


def _one(candidates: Sequence[Candidate]) -> bool:
    return bool(candidates) and all(_same(one.value, candidates[0].value) for one in candidates)


def _contradict(candidates: Sequence[Candidate]) -> bool:
    """Whether two documents, each of one mind, say different things."""
    documents: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        documents.setdefault(candidate.document, []).append(candidate)
    clear = [some for some in documents.values() if _one(some)]
    return len(clear) > 1 and not all(_same(some[0].value, clear[0][0].value) for some in clear)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return "".join(filter(str.isalnum, one.casefold())) == "".join(filter(str.isalnum, other.casefold()))
    return bool(one == other)
