"""Chooses between what a model says and what can be read off the pages, and weighs what speaks for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from triptych.v1.reasoning_pb2 import Evidence, QuoteMatch
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.reasoning.asking import Asking
from triptych.workers.reasoning.confidence import Signals
from triptych.workers.reasoning.evidence import Grounding, Locator, ground
from triptych.workers.reasoning.prompts import says_not_found, tidy
from triptych.workers.reasoning.readable import LABEL, Candidate
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import Passage
from triptych.workers.reasoning.shapes import fits, trimmed
from triptych.workers.reasoning.terms import stem
from triptych.workers.reasoning.values import only_value

MODEL = "model"
# Where the model finds nothing, or nothing of the form asked for, something read off is taken from here on.
_LIKELY = 0.45
# Stems by which a question speaks of the document itself.
_OF_ITSELF = frozenset(
    stem(word)
    for word in (
        "briefly", "content", "describe", "document", "explain", "file", "key", "main", "page", "point", "sentence",
        "subject", "summarise", "summarize", "summary", "text", "topic",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The answer that is taken.

    Attributes:
        grounding: Its words and what they rest on.
        found_by: "model", "label", "table": all that found it.
        signals: What speaks for it.
    """

    grounding: Grounding
    found_by: tuple[str, ...]
    signals: Signals


def choose(
    asking: Asking,
    readings: Sequence[Reading],
    shown: Sequence[Passage],
    read: Sequence[Candidate],
    generated: VisionResult,
    locator: Locator,
    max_evidence_count: int,
) -> Choice | None:
    """Gives the answer; None if neither the model nor the pages have one.

    The model's words are taken, unless the pages name another value beyond doubt, or the model's is none or has not
    the form that was asked for.
    """
    said = "" if says_not_found(generated.text) else _value(generated.text, asking)
    best = read[0] if read else None
    agreeing = next((one for one in read if said and _same(one.value, said)), None)
    if said and best is not None and agreeing is not best and _outweighs(best, said, asking):
        agreeing, said = None, ""
    if not said:
        if best is None or best.sure < _LIKELY:
            return None
        grounding = _read_off(best, readings, asking, max_evidence_count)
        found_by: tuple[str, ...] = (best.by,)
    elif agreeing is not None:
        # Where it stands is known better from what names it than from its words: these may stand anywhere.
        grounding = _read_off(agreeing, readings, asking, max_evidence_count)
        found_by = (MODEL, agreeing.by)
    else:
        grounding = _verdict(said, asking, locator) or ground(said, locator, max_evidence_count=max_evidence_count)
        found_by = (MODEL,)
    used = agreeing or (None if MODEL in found_by else best)
    signals = _signals(asking, shown, used, generated, grounding, locator, from_model=MODEL in found_by)
    return Choice(grounding=grounding, found_by=found_by, signals=signals)


def _value(text: str, asking: Asking) -> str:
    text = tidy(text, asking.question)
    return trimmed(text, asking.shape) if len(text.split()) <= 6 else text


def _verdict(said: str, asking: Asking, locator: Locator) -> Grounding | None:
    """Gives a yes or no with the line that it rests on, where there is one; None: it is no such answer."""
    if not asking.yes_no or len(said.split()) > 1:
        return None
    evidence = locator.support(asking.words)
    if evidence is None:
        return None
    evidence.evidence_id = "e1"
    return Grounding(text=f"{said} [e1]", evidence=[evidence], groundedness=1.0)


def _outweighs(best: Candidate, said: str, asking: Asking) -> bool:
    """Whether what was read off is taken against the model's words."""
    if best.strong:
        # An address has more lines than the one behind its label.
        return asking.shape is not None or best.by != LABEL or not _holds(said, best.value)
    return best.sure >= _LIKELY and asking.shape is not None and not fits(said, asking.shape)


def _holds(text: str, part: str) -> bool:
    signs = [re.sub(r"[\W_]", "", one).casefold() for one in (text, part)]
    return signs[1] in signs[0]


def _read_off(best: Candidate, readings: Sequence[Reading], asking: Asking, max_evidence_count: int) -> Grounding:
    evidence = best.evidence(readings)[:max_evidence_count]
    for number, one in enumerate(evidence, start=1):
        one.evidence_id = f"e{number}"
    value = best.value if best.computed else trimmed(best.value, asking.shape)
    if len(evidence) == 1 and value != best.value and value in evidence[0].quote:
        evidence = _narrowed(best, readings, value)
    return Grounding(
        text="".join([value, *(f" [{one.evidence_id}]" for one in evidence)]), evidence=evidence, groundedness=1.0
    )


def _narrowed(best: Candidate, readings: Sequence[Reading], value: str) -> list[Evidence]:
    """Gives the evidence of the part of a cell that is the answer."""
    [(index, start, end)] = best.places
    at = readings[index].text.index(value, start, end)
    part = Candidate(value=value, label="", by=best.by, sure=best.sure, places=((index, at, at + len(value)),))
    [evidence] = part.evidence(readings)
    evidence.evidence_id = "e1"
    return [evidence]


def _same(one: str, other: str) -> bool:
    """Whether two say the same: the same letters and digits, or the same value."""
    signs = [re.sub(r"[\W_]", "", text).casefold() for text in (one, other)]
    if signs[0] == signs[1]:
        return True
    values = [only_value(text) for text in (one, other)]
    return values[0] is not None and values[1] is not None and values[0].same_as(values[1])


def _signals(
    asking: Asking,
    shown: Sequence[Passage],
    used: Candidate | None,
    generated: VisionResult,
    grounding: Grounding,
    locator: Locator,
    *,
    from_model: bool,
) -> Signals:
    placed = [one for one in grounding.evidence if one.quote_match != QuoteMatch.QUOTE_MATCH_NONE]
    recognized = [one.confidence for one in placed if one.HasField("confidence")]
    # Models elsewhere may not tell; then theirs counts like that of a usual answer.
    sure = generated.confidence if generated.HasField("confidence") else 0.85
    form = asking.shape
    return Signals(
        model=sure if from_model else 0.0,
        agreed=float(from_model and used is not None),
        read=used.sure if used is not None else 0.0,
        worked_out=float(used is not None and used.computed),
        not_worked_out=float(asking.works_out and not (used is not None and used.computed)),
        refused=float(not from_model and generated.text != "" and says_not_found(generated.text)),
        exact=grounding.groundedness,
        near=max((locator.nearness(one) for one in placed), default=0.0),
        covered=_covered(asking, shown),
        formed=0.5 if form is None else float(fits(uncited(grounding), form)),
        recognized=min(recognized, default=1.0),
    )


def uncited(grounding: Grounding) -> str:
    """Gives the answer's words without "[e1]"."""
    text = grounding.text
    for one in grounding.evidence:
        text = text.replace(f" [{one.evidence_id}]", "")
    return text


def _covered(asking: Asking, shown: Sequence[Passage]) -> float:
    """Gives the share of the question's words that the passages have, in any spelling."""
    wanted = [word for word in asking.words if word not in _OF_ITSELF]
    words = {
        word
        for passage in shown
        for word in re.findall(r"[^\W\d_]+|\d+", passage.text)
        if len(word) > 1 or word.isdigit()
    }
    there = (asking.named_by(" ".join(words)) | words) & set(wanted)
    # "What is this document about?" names nothing that would have to stand there.
    return len(there) / len(wanted) if wanted else 1.0
