"""The compressed pixels of a PNG file, which a PDF can carry as they are."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1}  # by colour type: grey, RGB, palette


@dataclass(frozen=True, slots=True, kw_only=True)
class PngStream:
    """A PNG's own Flate stream, as https://www.w3.org/TR/png-3/ has it.

    Attributes:
        channels: 1 or 3.
        bits: Of a channel.
        palette: Of an indexed picture, three bytes a colour; empty otherwise.
        data: For FlateDecode with predictor 15.
    """

    width: int
    height: int
    channels: int
    bits: int
    palette: bytes
    data: bytes

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Reads a file; None if a PDF needs it otherwise: interlaced, with transparency, damaged, or no PNG."""
        with path.open("rb") as file:
            if file.read(len(SIGNATURE)) != SIGNATURE:
                return None
            found: dict[bytes, bytearray] = {}
            while (chunk := _chunk(file)) is not None:
                kind, body = chunk
                if kind in {b"IHDR", b"PLTE", b"IDAT", b"tRNS"}:
                    found.setdefault(kind, bytearray()).extend(body)
        header = found.get(b"IHDR", b"")
        if len(header) != 13 or b"tRNS" in found or b"IDAT" not in found:
            return None
        width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        palette = bytes(found.get(b"PLTE", b"")) if colour == 3 else b""
        if colour not in _CHANNELS or interlaced or not width * height or (colour == 3 and not palette):
            return None
        return cls(
            width=width, height=height, channels=_CHANNELS[colour], bits=bits, palette=palette,
            data=bytes(found[b"IDAT"]),
        )  # fmt: skip


def _chunk(file: BinaryIO) -> tuple[bytes, bytes] | None:
    head = file.read(8)
    if len(head) < 8:
        return None
    length, kind = struct.unpack(">I4s", head)
    body = file.read(length)
    file.read(4)  # the checksum
    return None if kind == b"IEND" or len(body) < length else (kind, body)
