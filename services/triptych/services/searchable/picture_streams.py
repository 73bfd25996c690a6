"""A picture as a PDF carries it: a file's own bytes where it can, otherwise its pixels without loss."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from pikepdf import Array, Dictionary, Name, Object, Pdf, Stream
from PIL import Image

from triptych.services.searchable.png_stream import PngStream

# Rows are compressed so many pixels at a time.
_BAND_PIXELS = 4_000_000
_SPACES = {1: Name.DeviceGray, 3: Name.DeviceRGB, 4: Name.DeviceCMYK}
_PROFILE_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}


def stored_picture(pdf: Pdf, image: Image.Image, path: Path) -> Stream | None:
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


def compressed_picture(pdf: Pdf, image: Image.Image) -> Stream:
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
