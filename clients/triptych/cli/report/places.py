"""Groups evidence by where it is shown: a page, a film's frame, a recording, a document's text, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from triptych.cli.printing import clock
from triptych.cli.report.documents import Document
from triptych.cli.report.marks import Mark

if TYPE_CHECKING:
    from triptych.v1.reasoning_pb2 import Evidence

PlaceKind = Literal["page", "frame", "sound", "text", "nowhere"]


@dataclass(slots=True, kw_only=True)
class Place:
    """Evidence that is shown together.

    Attributes:
        kind: What it is.
        document: In which it is; None: in none.
        position: Page from 1, or milliseconds of a frame; 0 otherwise.
        marks: The evidence, in the result's order.
    """

    kind: PlaceKind
    document: Document | None
    position: int
    marks: list[Mark] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Gives what people call it."""
        if self.document is None:
            return "In no document"
        where = {"page": f", page {self.position}", "frame": f", frame at {clock(self.position)}"}.get(self.kind, "")
        return self.document.name + where


def places_of(evidence: Sequence[Evidence], documents: Mapping[str, Document]) -> list[Place]:
    """Gives the places of all evidence, in the order in which the result first cites them."""
    places: dict[tuple[str, PlaceKind, int], Place] = {}
    for number, found in enumerate(evidence):
        document = documents.get(found.document_id)
        kind, position = _where(found) if document else ("nowhere", 0)
        key = (found.document_id, kind, position)
        place = places.setdefault(key, Place(kind=kind, document=document, position=position))
        place.marks.append(Mark(number=number, evidence=found))
    return list(places.values())


def _where(found: Evidence) -> tuple[PlaceKind, int]:
    anchor = found.WhichOneof("anchor")
    if anchor == "page" and found.page.HasField("frame_ms"):
        return "frame", found.page.frame_ms
    if anchor == "page":
        return "page", found.page.page_number
    if anchor == "audio":
        return "sound", 0
    return ("text", 0) if anchor == "text" else ("nowhere", 0)
