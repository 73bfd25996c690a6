"""Makes a PDF of an image file: the bytes of a JPEG or PNG as they are, any other picture without loss."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pi_heif
from pikepdf import Array, Dictionary, Name, Object, Page, Pdf, Stream
from PIL import Image, ImageOps

from triptych.core.errors import InputTooLarge, MediaCorrupt, TriptychError
from triptych.services.searchable.png_stream import PngStream

# As the workers read them: no file reaches another decoder.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF")
# Of files that do not say theirs, or say nonsense.
DEFAULT_DPI, MIN_DPI, MAX_DPI = 200.0, 36.0, 4800.0
# ISO 32000-1, annex C: viewers take no larger page.
MAX_SIDE_POINTS = 14_400
_POINTS_PER_INCH = 72
# Rows are compressed so many pixels at a time.
_BAND_PIXELS = 4_000_000
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
_SPACES = {1: Name.DeviceGray, 3: Name.DeviceRGB, 4: Name.DeviceCMYK}
_PROFILE_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}

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
    orientation = _orientation(image)
    stored = _stored(pdf, image, path)
    if stored is None:
        image.load()
        upright = ImageOps.exif_transpose(image) if _orientation(image) != 1 else image
        # Pillow turns a TIFF itself as it loads it.
        dpi, orientation, size = _dpi(image), 1, upright.size
        stored = _compressed(pdf, upright)
        dpi = dpi[::-1] if image.size != size else dpi
    else:
        dpi, size = _dpi(image), image.size
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


def _stored(pdf: Pdf, image: Image.Image, path: Path) -> Stream | None:
    """Gives the file's own bytes as a picture; None if a PDF cannot carry them."""
    if image.format in {"JPEG", "MPO"} and image.mode in {"L", "RGB", "CMYK"}:
        channels = len(image.getbands())
        picture = _picture(pdf, path.read_bytes(), Name.DCTDecode, image.size, _space(pdf, image, channels), 8)
        if channels == 4 and "adobe" in image.info:
            # Adobe's programs write CMYK upside down.
            picture.Decode = Array([1, 0] * 4)
        return picture
    png = PngStream.of(path) if image.format == "PNG" else None
    if png is None:
        return None
    space = _space(pdf, image, 3 if png.palette else png.channels)
    if png.palette:
        space = Array([Name.Indexed, space, len(png.palette) // 3 - 1, png.palette])
    size = (png.width, png.height)
    picture = _picture(pdf, png.data, Name.FlateDecode, size, space, png.bits)
    picture.DecodeParms = Dictionary(Predictor=15, Colors=png.channels, BitsPerComponent=png.bits, Columns=png.width)
    return picture


def _compressed(pdf: Pdf, image: Image.Image) -> Stream:
    """Gives the pixels as a picture, with transparency as its mask."""
    mask = None
    if image.mode in {"LA", "PA", "La", "RGBA", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        mask = None if alpha.getextrema() == (255, 255) else _flate(pdf, alpha, 8)
        image = image.convert("RGB")
    if image.mode in {"I", "F"}:
        low, high = (float(str(value)) for value in image.getextrema())
        scale = 255 / ((high - low) or 1)
        image = image.point(lambda value: value * scale - low * scale).convert("L")
    if image.mode == "LAB":
        # Lightness alone, as it is read: a conversion would need a colour profile.
        image = image.getchannel(0)
    if image.mode not in {"1", "L", "RGB", "CMYK", "I;16", "I;16L", "I;16B"}:
        image = image.convert("RGB")
    bits = {"1": 1, "I;16": 16, "I;16L": 16, "I;16B": 16}.get(image.mode, 8)
    picture = _flate(pdf, image, bits)
    if mask is not None:
        picture.SMask = mask
    return picture


def _flate(pdf: Pdf, image: Image.Image, bits: int) -> Stream:
    width, height = image.size
    packer, data = zlib.compressobj(), bytearray()
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(height, top + rows)))
        data += packer.compress(band.tobytes("raw", "I;16B") if bits == 16 else band.tobytes())
    data += packer.flush()
    space = _space(pdf, image, len(image.getbands()))
    return _picture(pdf, bytes(data), Name.FlateDecode, image.size, space, bits)


def _picture(pdf: Pdf, data: bytes, coded: Name, size: tuple[int, int], space: Object, bits: int) -> Stream:
    facts: dict[str, Any] = {
        "Type": Name.XObject, "Subtype": Name.Image, "Width": size[0], "Height": size[1], "Filter": coded,
        "ColorSpace": space, "BitsPerComponent": bits,
    }  # fmt: skip
    return Stream(pdf, data, **facts)


def _space(pdf: Pdf, image: Image.Image, channels: int) -> Object:
    """Gives the colour space: by the file's own profile, if it is one for so many channels."""
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and len(profile) > 128 and profile[16:20] == _PROFILE_SPACES[channels]:
        packed = Stream(pdf, zlib.compress(profile), Filter=Name.FlateDecode, N=channels, Alternate=_SPACES[channels])
        return Array([Name.ICCBased, packed])
    return _SPACES[channels]
