"""Pages on their way out: to the terminal for people, or into files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import click

from triptych.cli.evidence import percent_box

if TYPE_CHECKING:
    from triptych.client import Client
    from triptych.core.pages_formats import Format
    from triptych.v1.ocr_pb2 import OcrResult

PDF = "pdf"
FORMAT_NAMES = ("text", "markdown", "html", "hocr", "alto", "json", PDF)
PagesView: TypeAlias = Literal["text", "layout", "places"]
# Formats that say where words are.
WITH_WORDS = frozenset({"hocr", "alto", PDF})


def format_named(name: str) -> Format:
    """Gives one of `FORMAT_NAMES`, but the PDF, which only the services can write."""
    from triptych.core.pages_formats import FORMATS
    from triptych.v1.ocr_service_pb2 import PagesFormat

    return FORMATS[PagesFormat.Value(f"PAGES_FORMAT_{name.upper()}")]


def names_by_ending() -> Mapping[str, str]:
    """Gives the names of the formats by how their files end, without the dot."""
    return {**{format_named(name).suffix: name for name in FORMAT_NAMES if name != PDF}, PDF: PDF}


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
        from triptych.v1.ocr_service_pb2 import PagesFormat

        if format_name == PDF:
            return self.client.format_pages(self.job_name, PagesFormat.PAGES_FORMAT_SEARCHABLE_PDF)
        check_pages(self.result)
        return format_named(format_name).write(self.result).encode()

    def write(self, files: Sequence[tuple[Path, str]]) -> None:
        """Writes files, each in its format."""
        for path, format_name in files:
            path.write_bytes(self.content(format_name))
            click.echo(f"written: {path}", err=True)


def page_lines(result: OcrResult, what: PagesView) -> Iterator[str]:
    """Yields what people read: each page's text, its layout as Markdown, or its lines and words with their places."""
    from triptych.core.pages_markdown import page_markdown

    for page in result.pages:
        if len(result.pages) > 1:
            yield click.style(f"--- page {page.page_number} ---", dim=True)
        if what != "places":
            yield page_markdown(page).removesuffix("\n") if what == "layout" else page.text
            continue
        for line in page.lines:
            yield f"{percent_box(line.polygon)}  {line.text}"
            yield from (f"    {percent_box(word.polygon)}  {word.text}" for word in line.words)
