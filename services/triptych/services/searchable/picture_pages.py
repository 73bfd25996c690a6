"""Makes a PDF of an image file: the bytes of a JPEG or PNG as they are, any other picture without loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pi_heif
from pikepdf import Array, Dictionary, Name, Page, Pdf
from PIL import Image, ImageOps

from triptych.core.errors import InputTooLarge, MediaCorrupt, TriptychError
from triptych.services.searchable.picture_streams import compressed_picture, stored_picture

# As the workers read them: no file reaches another decoder.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF")
# Of files that do not say theirs, or say nonsense.
DEFAULT_DPI, MIN_DPI, MAX_DPI = 200.0, 36.0, 4800.0
# ISO 32000-1, annex C: viewers take no larger page.
MAX_SIDE_POINTS = 14_400
_POINTS_PER_INCH = 72
_ORIENTATION = 0x0112
# EXIF orientation -> where a point of the stored picture (shares from its top left) is seen.
_SEEN: Mapping[int, Callable[[float, float], tuple[float, float]]] = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}
Image.MAX_IMAGE_PIXELS = None
pi_heif.register_heif_opener(thumbnails=False)


def picture_pdf(path: Path, *, max_page_pixels: int, max_page_count: int) -> Pdf:
    """Gives a PDF with a page for each frame of a TIFF, and one page for any other file.

    Args:
        path: Of the file.
        max_page_pixels: Most pixels of a page, by its claimed size.
        max_page_count: Most pages.

    Raises:
        MediaCorrupt: It cannot be decoded.
        InputTooLarge: More pixels, or more pages.
    """
    pdf = Pdf.new()
    with _damage_told(), Image.open(path, formats=FORMATS) as image:
        for number in range(max_page_count + 1):
            if number and not _has_frame(image, number):
                break
            if number == max_page_count:
                raise InputTooLarge("a file of too many pages", limit=max_page_count, value=number + 1)
            width, height = image.size
            if width * height > max_page_pixels:
                message = f"an image of {width} x {height} pixels"
                raise InputTooLarge(message, limit=max_page_pixels, value=width * height)
            _add_page(pdf, image, path)
    return pdf


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (TriptychError, MemoryError):
        raise
    except Exception as error:
        # Pillow's decoders raise nearly anything on damaged files.
        raise MediaCorrupt(f"the image cannot be read: {error}") from error


def _has_frame(image: Image.Image, number: int) -> bool:
    if image.format != "TIFF":
        return False
    try:
        image.seek(number)
    except EOFError:
        return False
    return True


def _add_page(pdf: Pdf, image: Image.Image, path: Path) -> None:
    orientation, dpi = _orientation(image), _dpi(image)
    stored = stored_picture(pdf, image, path)
    size = image.size
    if stored is None:
        image.load()
        # Pillow turns a TIFF itself as it loads it.
        upright = ImageOps.exif_transpose(image) if _orientation(image) != 1 else image
        stored, size, dpi = compressed_picture(pdf, upright), upright.size, dpi[::-1] if orientation >= 5 else dpi
        orientation = 1
    width, height = (pixels * _POINTS_PER_INCH / per_inch for pixels, per_inch in zip(size, dpi, strict=True))
    if orientation >= 5:
        width, height = height, width
    shrink = min(1.0, MAX_SIDE_POINTS / max(width, height))
    width, height = max(1.0, width * shrink), max(1.0, height * shrink)
    page = Dictionary(
        Type=Name.Page,
        MediaBox=Array([0, 0, width, height]),
        Resources=Dictionary(XObject=Dictionary(Picture=stored)),
        Contents=pdf.make_stream(_drawn(orientation, width, height)),
    )
    pdf.pages.append(Page(pdf.make_indirect(page)))


def _drawn(orientation: int, width: float, height: float) -> bytes:
    """Gives the content stream: the matrix takes a picture's unit square to where it is seen."""
    seen = _SEEN[orientation]
    (left, top), (right, right_top), (up_x, up_y) = seen(0, 1), seen(1, 1), seen(0, 0)
    matrix = (
        (right - left) * width, (top - right_top) * height, (up_x - left) * width, (top - up_y) * height,
        left * width, (1 - top) * height,
    )  # fmt: skip
    return f"q {' '.join(f'{number:.4f}' for number in matrix)} cm /Picture Do Q\n".encode("ascii")


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF data says nothing about the pixels, which are fine
        return 1
    return found if found in _SEEN else 1


def _dpi(image: Image.Image) -> tuple[float, float]:
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return DEFAULT_DPI, DEFAULT_DPI
    sane = all(math.isfinite(value) and MIN_DPI <= value <= MAX_DPI for value in (across, down))
    return (across, down) if sane else (DEFAULT_DPI, DEFAULT_DPI)
