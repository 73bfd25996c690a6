"""Writes the report of an answer into a folder that is complete in itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cli.report.documents import documents_of
from triptych.cli.report.page import GENERATOR, page
from triptych.cli.report.pictures import show_place
from triptych.cli.report.places import places_of

if TYPE_CHECKING:
    from triptych.v1.reasoning_pb2 import ReasoningResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A report.

    Attributes:
        index: The page to open, `index.html` in the folder.
        failures: Why some evidence has no picture.
    """

    index: Path
    failures: tuple[str, ...]


def is_free(folder: Path) -> bool:
    """Whether a report may go there: no page lies there, or an earlier report."""
    index = folder / "index.html"
    return not index.exists() or GENERATOR.encode() in index.read_bytes()


def write_report(
    folder: Path, question: str, result: ReasoningResult, files: Mapping[str, Path], *, password: str = ""
) -> Written:
    """Writes `index.html` and the pictures and sounds that it shows; files of these names are replaced.

    Args:
        folder: Is made if it is not there.
        question: As it was asked.
        result: What came of it.
        files: The documents' files by document id ("d1", "d2", ... in the order in which they were asked).
        password: Opens protected PDFs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    documents = documents_of(result, files)
    places = places_of(result.evidence, documents)
    shown = [show_place(place, number, folder, password) for number, place in enumerate(places, 1)]
    index = folder / "index.html"
    index.write_text(page(question, result, documents, shown), "utf-8")
    return Written(index=index, failures=tuple(one.failure for one in shown if one.failure))
