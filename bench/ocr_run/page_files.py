"""Pages of an evaluation set as files that every reader opens."""

from dataclasses import dataclass
from pathlib import Path

from accuracy_run.manifest import items
from PIL import Image

from triptych.v1.common_pb2 import InputSource
from triptych.workers.media.page_limits import PageLimits
from triptych.workers.media.pages import open_pages

DPI = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page.

    Attributes:
        text: What stands on it; empty if that is not known.
    """

    id: str
    path: Path
    text: str
    language: str


def pages_of(folder: Path, count: int, into: Path) -> list[Page]:
    """Writes pages of a set as PNG files."""
    manifest = folder / "manifest.json"
    known = [
        item
        for modality in ("document_image", "pdf")
        for item in items(manifest, modality)
        if item.truth.get("text_file") and "password" not in item.id
    ]
    if len(known) < count:
        raise SystemExit(f"{manifest} has no {count} pages whose text is known")
    found = []
    for item in (known[n * len(known) // count] for n in range(count)):
        source = InputSource(display_name=item.path.name)
        with item.path.open("rb") as file, open_pages(file, source, PageLimits()) as document:
            pixels, _ = document.draw(1, dpi=DPI, check=lambda: None)
            whole = document.page_count == 1
        path = into / f"{item.id}.png"
        Image.fromarray(pixels).save(path, compress_level=1)
        text = (folder / item.truth["text_file"]).read_text("utf-8") if whole else ""
        found.append(Page(id=item.id, path=path, text=text, language=item.language))
    return found
