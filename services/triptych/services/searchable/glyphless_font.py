"""A font that draws nothing and has a code for whatever characters a document needs.

The fonts of other OCR programs know the characters of one plane of Unicode; this one gives out codes as they come, so
that a code may also stand for a letter with its marks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping

from pikepdf import Array, Dictionary, Name, Object, Pdf

from triptych.services.searchable.flate import compressed

NAME = "TriptychGlyphless"
EM = 1000
# Every glyph is as wide as this share of its height; words are scaled to their boxes.
WIDTH = 500
# A blank needs hardly any room: readers part words where one stands, however narrow it is.
BLANK, BLANK_WIDTH = " ", 50
# Code 0 is for what has no other code left.
MAX_CODES = 0xFFFF
UNKNOWN = "\ufffd"


class GlyphlessFont:
    """Gives out codes while pages are written; then it is made a part of the file."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {UNKNOWN: 0, BLANK: 1}

    def encoded(self, clusters: Iterable[str]) -> bytes:
        """Gives the codes of characters, two bytes each.

        Args:
            clusters: A letter with its marks each.
        """
        return b"".join(self._code(cluster).to_bytes(2, "big") for cluster in clusters)

    def write(self, pdf: Pdf, place: Object) -> None:
        """Makes an (empty, indirect) dictionary of the file the font."""
        count = len(self._codes)
        descriptor = Dictionary(
            Type=Name.FontDescriptor,
            FontName=Name(f"/{NAME}"),
            Flags=5,  # fixed pitch, symbolic
            FontBBox=Array([0, 0, WIDTH, EM]),
            ItalicAngle=0,
            # A reader's box of a word is as high as the font, from the baseline up: nothing hangs below. For poppler
            # 0 would mean that it is not said.
            Ascent=EM,
            Descent=-1,
            CapHeight=EM,
            StemV=0,
            FontFile2=compressed(pdf, truetype(), Length1=len(truetype())),
        )
        cid_font = Dictionary(
            Type=Name.Font,
            Subtype=Name.CIDFontType2,
            BaseFont=Name(f"/{NAME}"),
            CIDSystemInfo=Dictionary(Registry=b"Adobe", Ordering=b"Identity", Supplement=0),
            FontDescriptor=pdf.make_indirect(descriptor),
            DW=WIDTH,
            W=Array([1, Array([BLANK_WIDTH])]),
            CIDToGIDMap=compressed(pdf, b"\0\1" * count),
        )
        for key, value in {
            "/Type": Name.Font,
            "/Subtype": Name.Type0,
            "/BaseFont": Name(f"/{NAME}"),
            "/Encoding": Name("/Identity-H"),
            "/DescendantFonts": Array([pdf.make_indirect(cid_font)]),
            "/ToUnicode": compressed(pdf, _to_unicode(self._codes)),
        }.items():
            place[key] = value

    def _code(self, cluster: str) -> int:
        if len(self._codes) > MAX_CODES:
            return self._codes.get(cluster, 0)
        return self._codes.setdefault(cluster, len(self._codes))


def _to_unicode(codes: Mapping[str, int]) -> bytes:
    """Gives the map from codes to characters: ISO 32000-1, 9.10.3."""
    pairs = [f"<{code:04x}> <{text.encode('utf-16-be').hex()}>\n" for text, code in codes.items()]
    # A section has at most 100 of them.
    sections = (pairs[start : start + 100] for start in range(0, len(pairs), 100))
    written = "".join(f"{len(some)} beginbfchar\n{''.join(some)}endbfchar\n" for some in sections)
    return (
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n"
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n"
        "/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n"
        "1 begincodespacerange\n<0000> <ffff>\nendcodespacerange\n"
        f"{written}endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
    ).encode("ascii")


def truetype() -> bytes:
    """Gives a TrueType file with two empty glyphs and the six tables that a PDF asks for (ISO 32000-1, 9.9).

    https://learn.microsoft.com/typography/opentype/spec/
    """
    tables = dict(sorted(_tables()))
    head = struct.pack(">IHHHH", 0x00010000, len(tables), 64, 2, 32)
    offset, entries, bodies = len(head) + 16 * len(tables), b"", b""
    for tag, body in tables.items():
        padded = body + bytes(-len(body) % 4)
        total = sum(struct.unpack(f">{len(padded) // 4}I", padded)) & 0xFFFFFFFF
        entries += struct.pack(">4sIII", tag, total, offset + len(bodies), len(body))
        bodies += padded
    return head + entries + bodies


def _tables() -> Iterator[tuple[bytes, bytes]]:
    box = (0, 0, WIDTH, EM)
    yield (
        b"head",
        struct.pack(">IIIIHHqqhhhhHHhhh", 0x00010000, 0x00010000, 0, 0x5F0F3CF5, 0, EM, 0, 0, *box, 0, 8, 2, 0, 0),
    )
    yield b"hhea", struct.pack(">IhhhHhhhhhhhhhhhH", 0x00010000, EM, 0, 0, WIDTH, 0, 0, WIDTH, 1, *[0] * 7, 2)
    yield b"maxp", struct.pack(">IH13H", 0x00010000, 2, 2, 1, 0, 0, 1, *[0] * 8)
    yield b"hmtx", struct.pack(">HhHh", WIDTH, 0, WIDTH, 0)
    # Glyph 1 is a line there and back, from corner to corner: it has an extent, which readers look for, and no area.
    line = struct.pack(">5hHH2B4h", 1, *box, 1, 0, 1, 1, 0, WIDTH, 0, EM)
    yield b"loca", struct.pack(">3H", 0, 0, len(line) // 2)
    yield b"glyf", line
