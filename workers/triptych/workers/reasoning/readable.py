"""What can be read off pages without a model: a field, a cell, the one telephone number; and what follows from rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from triptych.v1.reasoning_pb2 import Evidence, QuoteMatch
from triptych.workers.reasoning.anchors import anchored
from triptych.workers.reasoning.arithmetic import Computed, computed
from triptych.workers.reasoning.asking import Asking
from triptych.workers.reasoning.cells import asked_cells
from triptych.workers.reasoning.fields import asked_fields
from triptych.workers.reasoning.matching import Span
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.retrieval import Passage
from triptych.workers.reasoning.shapes import CERTAIN, Shape
from triptych.workers.reasoning.tables import tables

LABEL, TABLE = "label", "table"
# From this on a label names what is asked for, beyond doubt.
_SURE_LABEL, _SURE_CELL = 0.95, 0.7
_DOUBTED = 0.6
# Of telephone numbers, these are of their own kind.
_KINDS_OF_PHONE = ("fax", "mobile", "cell")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An answer that was read off.

    Attributes:
        value: As it is answered.
        label: What names it, for the model; empty if its form alone does.
        by: "label" or "table".
        sure: How likely it is what is asked for, 0 to 1, by what names it.
        places: Reading, start and end in its text of all that it rests on.
        computed: Whether it was worked out, and stands nowhere.
    """

    value: str
    label: str
    by: str
    sure: float
    places: tuple[tuple[int, int, int], ...]
    computed: bool = False

    @property
    def strong(self) -> bool:
        """Whether it is taken even against a model."""
        return self.computed or self.sure >= (_SURE_CELL if self.by == TABLE else _SURE_LABEL)

    def evidence(self, readings: Sequence[Reading]) -> list[Evidence]:
        """Gives the words that it rests on, with their places."""
        exact = QuoteMatch.QUOTE_MATCH_EXACT
        return [anchored(readings[index], Span(start=start, end=end, match=exact)) for index, start, end in self.places]


def candidates(readings: Sequence[Reading], shown: Sequence[Passage], asking: Asking) -> list[Candidate]:
    """Gives what can be read off the shown passages, the best first; what was worked out stands alone."""
    if asking.yes_no:
        return []
    if (result := computed(readings, shown, asking)) is not None:
        return [_worked_out(result)]
    found = [*_cells(readings, shown, asking), *_fields(readings, shown, asking), *_by_form(readings, shown, asking)]
    kept: dict[str, Candidate] = {}
    for candidate in sorted(found, key=lambda one: -one.sure):
        kept.setdefault(candidate.value, candidate)
    best = list(kept.values())
    if len(best) > 1 and best[0].sure == best[1].sure and not (asking.sums and _one_page(best[:2])):
        # Two are as good: neither is beyond doubt.
        best = [replace(one, sure=min(one.sure, _DOUBTED)) if one.sure == best[0].sure else one for one in best]
    return best


def _one_page(found: Sequence[Candidate]) -> bool:
    return len({index for one in found for index, _, _ in one.places}) == 1


def _worked_out(result: Computed) -> Candidate:
    return Candidate(value=result.value, label="", by=result.by, sure=0.9, places=result.rests_on, computed=True)


def _cells(readings: Sequence[Reading], shown: Sequence[Passage], asking: Asking) -> Iterator[Candidate]:
    for index in sorted({passage.reading for passage in shown}):
        for named in asked_cells(tables(readings[index]), asking):
            places = tuple((index, *span) for span in named.cell.spans)
            label = f"{named.row}, {named.heading}"
            yield Candidate(value=named.cell.text, label=label, by=TABLE, sure=named.share, places=places)


def _fields(readings: Sequence[Reading], shown: Sequence[Passage], asking: Asking) -> Iterator[Candidate]:
    for field in asked_fields(readings, shown, asking):
        yield Candidate(
            value=field.value,
            label=field.label,
            by=LABEL,
            # A label that says more than was asked may be another one.
            sure=field.share * (0.5 + 0.5 * field.label_share),
            places=((field.reading, field.start, field.end),),
        )


def _by_form(readings: Sequence[Reading], shown: Sequence[Passage], asking: Asking) -> Iterator[Candidate]:
    """Yields the one value on the pages that has the form asked for, if the form is telling enough."""
    shape = asking.shape
    if shape not in CERTAIN or shape is None:
        return
    if shape is Shape.PHONE and any(word.startswith(_KINDS_OF_PHONE) for word in asking.words):
        return
    places = [
        (index, start, end)
        for index in sorted({passage.reading for passage in shown})
        for start, end in shape.spans(readings[index].text)
    ]
    values = {"".join(readings[index].text[start:end].split()) for index, start, end in places}
    if len(values) == 1:
        index, start, end = places[0]
        value = readings[index].text[start:end]
        yield Candidate(value=value, label="", by=LABEL, sure=0.8, places=((index, start, end),))
