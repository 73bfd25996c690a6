"""Pages on their way out: to the terminal for people, or into files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triptych.cli.evidence import percent_box

if TYPE_CHECKING:
    from triptych.client import Client
    from triptych.v1.ocr_pb2 import OcrResult

# Name of a format -> how its files end.
FORMATS = {
    "text": "txt",
    "markdown": "md",
    "html": "html",
    "hocr": "hocr",
    "alto": "xml",
    "json": "json",
    "pdf": "pdf",
}
ENDINGS = {ending: name for name, ending in FORMATS.items()}
# Formats that say where words are.
WITH_WORDS = frozenset({"hocr", "alto", "pdf"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPages:
    """What a job read, on the way to files."""

    client: Client
    job_name: str
    result: OcrResult

    def content(self, format_name: str) -> bytes:
        """Gives a file's content; the services, which have the document, make the searchable PDF.

        Raises:
            FieldInvalid: The engine gave no places.
            TriptychError: What the services said.
        """
        from triptych.core.pages_check import check_pages
        from triptych.core.pages_formats import FORMATS as WRITERS
        from triptych.v1.ocr_service_pb2 import PagesFormat

        if format_name == "pdf":
            return self.client.format_pages(self.job_name, PagesFormat.PAGES_FORMAT_SEARCHABLE_PDF)
        check_pages(self.result)
        return WRITERS[PagesFormat.Value(f"PAGES_FORMAT_{format_name.upper()}")].write(self.result).encode()

    def write(self, files: Sequence[tuple[Path, str]]) -> None:
        """Writes files, each in its format."""
        for path, format_name in files:
            path.write_bytes(self.content(format_name))
            click.echo(f"written: {path}", err=True)


def page_lines(result: OcrResult, *, places: bool) -> Iterator[str]:
    """Yields what people read: each page's text, or its lines and words with their places in percent."""
    for page in result.pages:
        if len(result.pages) > 1:
            yield click.style(f"--- page {page.page_number} ---", dim=True)
        if not places:
            yield page.text
            continue
        for line in page.lines:
            yield f"{percent_box(line.polygon)}  {line.text}"
            yield from (f"    {percent_box(word.polygon)}  {word.text}" for word in line.words)
