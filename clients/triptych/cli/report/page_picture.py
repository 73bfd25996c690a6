"""The picture of a page, or of a film's frame, with a numbered frame around every piece of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cli.report.marks import Mark, airs
from triptych.core.media import PDF_TYPE

if TYPE_CHECKING:
    from PIL.Image import Image

PAGE_WIDTH_PX = 1200
# A till receipt is long; it gets narrower before it gets longer than this.
MAX_HEIGHT_PX = 8000
LINE_PX = 4
TAG_PX = 22
# As images are read by the workers: nothing else is tried.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF")

Box = tuple[float, float, float, float]


def page_image(file: Path, media_type: str, page_number: int, password: str = "") -> Image:
    """Renders a page as a viewer shows it, which is the frame of the contract's coordinates.

    Args:
        file: PDF or image.
        media_type: Of the file.
        page_number: 1-based page, or frame of a TIFF.
        password: Opens a protected PDF.
    """
    from PIL import Image, ImageOps

    if media_type == PDF_TYPE:
        import pypdfium2

        with pypdfium2.PdfDocument(file, password=password or None) as document:
            page = document[page_number - 1]
            scale = _scale(page.get_width(), page.get_height())
            image: Image.Image = page.render(scale=scale).to_pil()
            return image.convert("RGB")
    if media_type == "image/heic":
        import pi_heif

        pi_heif.register_heif_opener(thumbnails=False)
    with Image.open(file, formats=_FORMATS) as opened:
        opened.seek(max(0, page_number - 1))
        return fitted(ImageOps.exif_transpose(opened))


def frame_image(file: Path, position_ms: int) -> Image:
    """Gives the frame of a film that is shown at a position in milliseconds."""
    import av
    from PIL import Image

    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        container.seek(1000 * max(0, position_ms))
        shown = None
        for frame in container.decode(stream):
            # A frame's own time is cut to milliseconds in the anchor.
            if shown is not None and frame.time is not None and 1000 * frame.time >= position_ms + 1:
                break
            shown = frame
    if shown is None:
        raise ValueError("there is no such frame")
    return fitted(Image.fromarray(shown.to_ndarray(format="rgb24")))


def fitted(image: Image) -> Image:
    """Gives the image in the size in which pages are shown, on white."""
    from PIL import Image

    scale = _scale(*image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        seen = image.convert("RGBA")
        paper = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        image = Image.alpha_composite(paper, seen)
    return image.convert("RGB").resize(size)


def draw_marks(image: Image, marks: Sequence[Mark]) -> None:
    """Draws a frame around the place of every mark, its name beside it."""
    from PIL import ImageDraw, ImageFont

    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=TAG_PX)
    frames = [_corners(image, mark, air) for mark, air in zip(marks, airs(marks), strict=True)]
    for mark, frame in zip(marks, frames, strict=True):
        draw.line([*frame, *frame[:2]], fill=mark.colour, width=LINE_PX, joint="curve")
    taken = [_around(frame) for frame in frames]
    for mark, frame in zip(marks, frames, strict=True):
        place = _tag_place(image, (font.getlength(mark.name) + 12, TAG_PX + 8), _around(frame), taken)
        draw.rectangle(place, fill=mark.colour)
        middle = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
        draw.text(middle, mark.name, fill="white", font=font, anchor="mm")
        taken.append(place)


def _scale(width: float, height: float) -> float:
    return min(PAGE_WIDTH_PX / width, MAX_HEIGHT_PX / height)


def _corners(image: Image, mark: Mark, air: int) -> list[tuple[float, float]]:
    """Gives the corners of the frame in pixels, with some air around the words, inside the picture."""
    width, height = image.size
    polygon = mark.evidence.page.polygon
    if polygon:
        corners = [(x * width, y * height) for x, y in zip(polygon[0::2], polygon[1::2], strict=True)]
    else:
        # The whole page: its frame stands inside.
        air = -2 * air
        corners = [(0, 0), (width, 0), (width, height), (0, height)]
    middle_x, middle_y = (sum(values) / len(corners) for values in zip(*corners, strict=True))
    return [
        (
            min(max(x + (air if x > middle_x else -air), 0), width - 1),
            min(max(y + (air if y > middle_y else -air), 0), height - 1),
        )
        for x, y in corners
    ]


def _around(frame: Sequence[tuple[float, float]]) -> Box:
    xs, ys = zip(*frame, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _tag_place(image: Image, size: tuple[float, float], frame: Box, taken: Sequence[Box]) -> Box:
    """Gives where a name of this size hides neither frames nor names, if that can be, and least of what is written."""
    width, height = size
    left, top, right, bottom = frame
    half = LINE_PX / 2
    starts = (
        (left - half, top - height),
        (left - width, top - half),
        (right, top - half),
        (left - half, bottom),
        (right - width + half, top - height),
        (right - width + half, bottom),
        (left, top),
    )
    boxes = [(x, y, x + width, y + height) for x, y in starts]
    inside = [box for box in boxes if box[0] >= 0 and box[1] >= 0 and box[2] <= image.width and box[3] <= image.height]
    free = [box for box in inside if not any(_overlap(box, other) for other in taken)]
    return min(free or inside or boxes, key=lambda box: _ink(image, box))


def _ink(image: Image, box: Box) -> float:
    """Gives how much the pixels in a box differ from each other: nothing is written where they do not."""
    from PIL import ImageStat

    left, top, right, bottom = map(round, box)
    return round(ImageStat.Stat(image.crop((left, top, right, bottom)).convert("L")).stddev[0])


def _overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share more than an edge."""
    return (
        one[0] < other[2] - LINE_PX
        and other[0] < one[2] - LINE_PX
        and one[1] < other[3] - LINE_PX
        and other[1] < one[3] - LINE_PX
    )
