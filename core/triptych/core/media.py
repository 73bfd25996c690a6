"""What kind of bytes these are, told from their head before anything decodes them."""

from __future__ import annotations

import struct

from triptych.core.document_types import (
    DOCUMENT_ALIASES,
    OFFICE_TYPES,
    TEXTUAL_TYPES,
    ZIP_TYPE,
    document_hint,
    sniff_document,
    text_type,
)
from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaTypeMismatch, MediaTypeUnsupported

PDF_TYPE = "application/pdf"
IMAGE_TYPES = frozenset({
    "image/png", "image/jpeg", "image/webp", "image/tiff", "image/bmp", "image/gif", "image/heic", "image/avif",
})  # fmt: skip
AUDIO_TYPES = frozenset({
    "audio/wav", "audio/mpeg", "audio/flac", "audio/ogg", "audio/mp4", "audio/webm", "audio/aac", "audio/aiff",
    "audio/amr", "audio/x-caf", "audio/basic", "audio/x-w64", "audio/x-wavpack", "audio/ac3", "video/mp4", "video/webm",
    "video/quicktime", "video/x-matroska", "video/x-msvideo", "video/mpeg", "video/mp2t", "video/x-ms-asf",
    "video/x-flv",
})  # fmt: skip
# Those that may hold pictures that move.
VIDEO_TYPES = frozenset(media_type for media_type in AUDIO_TYPES if media_type.startswith("video/"))
# Types that people use for the same bytes.
_ALIASES = {
    "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png", "image/tif": "image/tiff",
    "image/x-ms-bmp": "image/bmp", "image/heif": "image/heic", "image/heic-sequence": "image/heic",
    "image/heif-sequence": "image/heic", "image/avif-sequence": "image/avif",
    "audio/x-wav": "audio/wav", "audio/wave": "audio/wav", "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg", "audio/mpeg3": "audio/mpeg", "audio/x-flac": "audio/flac", "audio/opus": "audio/ogg",
    "audio/vorbis": "audio/ogg", "application/ogg": "audio/ogg", "audio/x-m4a": "audio/mp4", "audio/m4a": "audio/mp4",
    "application/x-pdf": PDF_TYPE, "audio/x-aac": "audio/aac", "audio/x-aiff": "audio/aiff",
    "audio/x-ms-wma": "video/x-ms-asf", "video/x-ms-wmv": "video/x-ms-asf", "application/vnd.ms-asf": "video/x-ms-asf",
    "audio/eac3": "audio/ac3", "audio/x-ac3": "audio/ac3", "audio/vnd.dolby.dd-raw": "audio/ac3",
    "audio/wavpack": "audio/x-wavpack", "audio/au": "audio/basic", "audio/x-au": "audio/basic",
    "video/flv": "video/x-flv", "video/mpeg2": "video/mpeg",
    **DOCUMENT_ALIASES,
}  # fmt: skip
# A container may hold audio alone or a film with it: both names are right.
_SAME = ({"audio/mp4", "video/mp4", "video/quicktime"}, {"audio/webm", "video/webm", "video/x-matroska"})
# Bytes that `sniff` wants to see.
HEAD_BYTES = 4096

# Pictures among ISO base media files; empty: any codec.
_PICTURE_BRANDS = {
    b"heic": "image/heic", b"heix": "image/heic", b"heim": "image/heic", b"heis": "image/heic", b"hevc": "image/heic",
    b"hevx": "image/heic", b"avif": "image/avif", b"avis": "image/avif", b"mif1": "", b"mif2": "", b"msf1": "",
    b"miaf": "",
}  # fmt: skip

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"#!AMR", "audio/amr"),
    (b"caff", "audio/x-caf"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b".snd", "audio/basic"),
    (b"riff\x2e\x91\xcf\x11", "audio/x-w64"),
    (b"wvpk", "audio/x-wavpack"),
    (b"\x0b\x77", "audio/ac3"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (b"FLV\x01", "video/x-flv"),
)


def sniff(head: bytes) -> str:
    """Gives the IANA media type of the first `HEAD_BYTES` bytes; empty if it is none that the suite can read."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:2] == b"BM" and head[6:10] == b"\x00\x00\x00\x00":
        return "image/bmp"
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(head[8:12], "")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if head[4:8] == b"ftyp":
        return _boxed_type(head)
    # Packets of 188 bytes, each of which begins so.
    if head[:1] == head[188:189] == head[376:377] == b"G":
        return "video/mp2t"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head[:128] else "video/x-matroska"
    # Before PDF: an archive may hold one, as it is, right at its beginning.
    if head.startswith(b"PK"):
        return sniff_document(head)
    # PDF readers accept the header anywhere in the first KiB.
    if b"%PDF-" in head[:1024]:
        return PDF_TYPE
    # Before sound: text in UTF-16 begins as a frame of MPEG audio may.
    if document := sniff_document(head):
        return document
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "audio/aac" if head[1] & 0x06 == 0 else "audio/mpeg"
    return ""


def _boxed_type(head: bytes) -> str:
    """Tells pictures from films: both are ISO base media files (ISO/IEC 14496-12), and their brands say how to read."""
    major, size = head[8:12], int.from_bytes(head[:4], "big")
    if major not in _PICTURE_BRANDS:
        return {b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime"}.get(major, "video/mp4")
    # After a version number come the brands that it is compatible with.
    brands = [major, *(head[at : at + 4] for at in range(16, min(size, len(head)) - 3, 4))]
    return next((found for brand in brands if (found := _PICTURE_BRANDS.get(brand))), "image/heic")


def checked_type(head: bytes, stated: str, display_name: str = "") -> str:
    """Gives the media type found, after comparing it with the one stated.

    Raises:
        MediaCorrupt: There are no bytes.
        MediaTypeUnsupported: No decoder for these bytes.
        MediaTypeMismatch: Stated as one type, but of another.
    """
    what = f"'{display_name}'" if display_name else "the input"
    if not head:
        raise MediaCorrupt(f"{what} is empty")
    wanted = _canonical(stated)
    found = sniff(head)
    # A byte order mark of UTF-16 may also begin a frame of MPEG audio: what it is said to be decides.
    if not found or found in TEXTUAL_TYPES or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        found = text_type(head, wanted, display_name) or found
    # Where the head does not show what is in an archive, whoever opens it will see.
    if found == ZIP_TYPE and wanted in OFFICE_TYPES:
        found = wanted
    if not found:
        raise MediaTypeUnsupported(
            f"{what} is no document, image, audio or video that can be read{document_hint(head)}"
        )
    if wanted and wanted != found and not any({wanted, found} <= group for group in _SAME):
        raise MediaTypeMismatch(f"{what} was stated to be {stated} but is {found}")
    return found


def check_pixels(head: bytes, max_pixels: int) -> None:
    """Refuses an image whose header claims too many pixels, before anything is decoded.

    Raises:
        InputTooLarge: More than max_pixels.
    """
    size = image_size(head)
    if size and size[0] * size[1] > max_pixels:
        raise InputTooLarge(
            f"the image is {size[0]} x {size[1]} pixels; at most {max_pixels} pixels are read",
            limit=max_pixels,
            value=size[0] * size[1],
        )


def image_size(head: bytes) -> tuple[int, int] | None:
    """Gives (width, height) in pixels where the header says it within `head`: PNG, GIF, BMP and JPEG."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return struct.unpack(">II", head[16:24])
    if head[:6] in (b"GIF87a", b"GIF89a") and len(head) >= 10:
        return struct.unpack("<HH", head[6:10])
    if head[:2] == b"BM" and len(head) >= 26:
        width, height = struct.unpack("<ii", head[18:26])
        return abs(width), abs(height)
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg_size(head)
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        # Start of frame, any kind but the tables C4, C8 and CC that share the range.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None


def _canonical(stated: str) -> str:
    bare = stated.split(";", 1)[0].strip().lower()
    # "application/octet-stream" says that the caller does not know.
    return "" if bare == "application/octet-stream" else _ALIASES.get(bare, bare)
