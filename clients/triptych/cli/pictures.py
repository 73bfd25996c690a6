"""Pictures of evidence: the page with its box, or the sound as a wave with its span, the quote below."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cli.evidence import line
from triptych.core.errors import FeatureDisabled

if TYPE_CHECKING:
    from PIL.Image import Image

    from triptych.v1.reasoning_pb2 import Evidence

PAGE_WIDTH_PX = 1200
AIR_PX = 7
MARK = (214, 40, 40)
INK = (30, 30, 30)
PAPER = (255, 255, 255)
_DOCUMENTS = {".pdf", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}


def require(files: Iterable[Path]) -> None:
    """Checks, before any work is done, that pictures of these files can be drawn.

    Raises:
        FeatureDisabled: A package is missing.
    """
    needed = {"PIL"}
    for file in files:
        if file.suffix.lower() not in _DOCUMENTS:
            needed |= {"av", "numpy"}
        elif file.suffix.lower() == ".pdf":
            needed.add("pypdfium2")
    missing = sorted(name for name in needed if importlib.util.find_spec(name) is None)
    if missing:
        message = f"pictures need {' and '.join(missing)}"
        raise FeatureDisabled(message, metadata={"hint": "pip install 'triptych[worker,speech]'"})


def draw_evidence(evidence: Evidence, file: Path, folder: Path, password: str = "") -> Path:
    """Writes the picture of one piece of evidence and gives its path, `<folder>/<evidence id>-<file>.png`.

    Raises:
        FeatureDisabled: A package is missing.
    """
    require([file])
    if evidence.HasField("audio"):
        from triptych.cli.waveform import draw_wave

        image = draw_wave(file, evidence.audio.start_ms, evidence.audio.end_ms)
    else:
        image = _page(file, evidence.page.page_number, password)
        _box(image, list(evidence.page.polygon))
    image = _with_caption(image, line(evidence, {evidence.document_id: file.name}))
    path = folder / f"{evidence.evidence_id}-{file.stem}.png"
    image.save(path)
    return path


def _page(file: Path, page_number: int, password: str) -> Image:
    """Renders a page as a viewer shows it, which is the frame of the contract's coordinates."""
    from PIL import Image, ImageOps

    if file.suffix.lower() == ".pdf":
        import pypdfium2

        with pypdfium2.PdfDocument(file, password=password or None) as document:
            page = document[page_number - 1]
            image: Image.Image = page.render(scale=PAGE_WIDTH_PX / page.get_width()).to_pil()
            return image.convert("RGB")
    with Image.open(file) as opened:
        opened.seek(max(0, page_number - 1))
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    height = round(upright.height * PAGE_WIDTH_PX / upright.width)
    return upright.resize((PAGE_WIDTH_PX, height))


def _box(image: Image, polygon: list[float]) -> None:
    """Draws a frame around the polygon, with some air; around the page if there is none."""
    from PIL import ImageDraw

    width, height = image.size
    corners = [(x * width, y * height) for x, y in zip(polygon[0::2], polygon[1::2], strict=True)]
    if not corners:
        right, bottom = width - 2 * AIR_PX, height - 2 * AIR_PX
        corners = [(2 * AIR_PX, 2 * AIR_PX), (right, 2 * AIR_PX), (right, bottom), (2 * AIR_PX, bottom)]
    middle = [sum(values) / len(corners) for values in zip(*corners, strict=True)]
    frame = [
        tuple(value + (AIR_PX if value > centre else -AIR_PX) for value, centre in zip(corner, middle, strict=True))
        for corner in corners
    ]
    ImageDraw.Draw(image).line([*frame, *frame[:2]], fill=MARK, width=4, joint="curve")


def _with_caption(image: Image, text: str) -> Image:
    """Gives the picture with a white strip below that holds the text, broken into lines that fit."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=20)
    lines, current = [], ""
    for word in text.split(" "):
        longer = f"{current} {word}".lstrip()
        if current and font.getlength(longer) > image.width - 40:
            lines.append(current)
            longer = word
        current = longer
    lines.append(current)
    whole = Image.new("RGB", (image.width, image.height + 26 * len(lines) + 30), PAPER)
    whole.paste(image)
    draw = ImageDraw.Draw(whole)
    for number, row in enumerate(lines):
        draw.text((20, image.height + 15 + 26 * number), row, fill=INK, font=font)
    return whole
