"""Writes pages as hOCR 1.2: XHTML whose classes and titles say where lines and words stand.

https://kba.github.io/hocr-spec/1.2/
"""

from __future__ import annotations

from typing import TypeAlias
from xml.etree import ElementTree as ET

from triptych.core.line_words import LineWord, is_right_to_left, words_of
from triptych.core.page_areas import Area, areas_of
from triptych.core.page_geometry import Box, Corners, Point, box, pixels, turn_degrees
from triptych.core.release import version
from triptych.core.xml_text import XML, legal, written
from triptych.v1.ocr_pb2 import BlockKind, OcrPage, OcrResult, TextLine

_DOCTYPE = (
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" '
    '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
)
_Lines: TypeAlias = list[tuple[ET.Element, TextLine]]
_CLASSES = {
    BlockKind.BLOCK_KIND_TABLE: "ocr_table",
    BlockKind.BLOCK_KIND_FIGURE: "ocr_photo",
    BlockKind.BLOCK_KIND_CAPTION: "ocr_caption",
    BlockKind.BLOCK_KIND_FORMULA: "ocr_display",
    BlockKind.BLOCK_KIND_PAGE_HEADER: "ocr_header",
    BlockKind.BLOCK_KIND_PAGE_FOOTER: "ocr_footer",
}
_AREA = "ocr_carea"
_CAPABILITIES = ("ocr_page", _AREA, "ocr_par", "ocr_line", "ocrx_word", "ocrp_wconf", "ocrp_dir", *_CLASSES.values())
# Text that is turned less runs along a baseline; turned more it is read from another side.
MAX_SLOPE_DEGREES, MIN_SLOPE_DEGREES = 45, 0.05


def hocr(result: OcrResult) -> str:
    """Gives the file.

    Args:
        result: Passes `check_pages`.
    """
    # Page by page: a tree of all of them would be many times larger than its text.
    pages = "\n".join(map(_page, result.pages))
    html = '<html xmlns="http://www.w3.org/1999/xhtml">'
    return f"{XML}{_DOCTYPE}{html}\n{_head(result)}\n<body>\n{pages}\n</body>\n</html>\n"


def _head(result: OcrResult) -> str:
    head = ET.Element("head")
    ET.SubElement(head, "title").text = "OCR"
    ET.SubElement(head, "meta", {"http-equiv": "Content-Type", "content": "text/html; charset=utf-8"})
    model = result.model
    system = legal(f"triptych {version()} {model.model}@{model.revision} {model.engine}").strip()
    for name, content in (
        ("ocr-system", system),
        ("ocr-capabilities", " ".join(_CAPABILITIES)),
        ("ocr-number-of-pages", str(len(result.pages))),
    ):
        ET.SubElement(head, "meta", {"name": name, "content": content})
    return written(head)


def _page(page: OcrPage) -> str:
    number = page.page_number
    lines: _Lines = []
    facts = [f"bbox 0 0 {page.width_px} {page.height_px}", f"ppageno {number - 1}"]
    if page.render_dpi:
        facts.append(f"scan_res {page.render_dpi} {page.render_dpi}")
    found = ET.Element("div", {"class": "ocr_page", "id": f"page_{number}", "title": "; ".join(facts)})
    if page.HasField("error"):
        found.append(ET.Comment(f" not read: {legal(page.error.message).replace('-', '‐')} "))
    for index, area in enumerate(areas_of(page), 1):
        lines += _area(found, page, area, f"{number}_{index}")
    ET.indent(found, " ")
    # Last: white space between words means something, and is none that indents.
    for element, line in lines:
        _fill(element, page, line)
    return ET.tostring(found, encoding="unicode")


def _area(parent: ET.Element, page: OcrPage, area: Area, name: str) -> _Lines:
    facts = {"class": _CLASSES.get(area.kind, _AREA), "id": f"block_{name}", "title": _bbox(area.box)}
    found = ET.SubElement(parent, "div", facts)
    if area.lines:
        facts = {"class": "ocr_par", "id": f"par_{name}", "title": _bbox(area.box)}
        found = ET.SubElement(found, "p", facts)
    return [(_line(found, page, line, f"{name}_{index}"), line) for index, line in enumerate(area.lines, 1)]


def _line(parent: ET.Element, page: OcrPage, line: TextLine, name: str) -> ET.Element:
    points = pixels(line.polygon, page)
    facts = {"class": "ocr_line", "id": f"line_{name}", "title": _bbox(box(points)) + _turn(points)}
    if is_right_to_left(line.text):
        facts["dir"] = "rtl"
    return ET.SubElement(parent, "span", facts)


def _fill(element: ET.Element, page: OcrPage, line: TextLine) -> None:
    name = element.attrib["id"].replace("line", "word")
    for index, word in enumerate(words_of(line), 1):
        _word(element, page, word, f"{name}_{index}")


def _word(line: ET.Element, page: OcrPage, word: LineWord, name: str) -> None:
    one, two, three, four = ((x * page.width_px, y * page.height_px) for x, y in word.corners)
    title = _bbox(box((one, two, three, four)))
    if word.confidence is not None:
        title += f"; x_wconf {round(100 * min(1.0, max(0.0, word.confidence)))}"
    found = ET.SubElement(line, "span", {"class": "ocrx_word", "id": name, "title": title})
    found.text = legal(word.text)
    found.tail = " " if word.spaced else None


def _bbox(found: Box) -> str:
    return f"bbox {' '.join(map(str, found))}"


def _turn(points: Corners) -> str:
    """Says how a line is turned; nothing of one that is level."""
    degrees = turn_degrees(points)
    if abs(degrees) < MIN_SLOPE_DEGREES:
        return ""
    if abs(degrees) > MAX_SLOPE_DEGREES:
        return f"; textangle {-degrees % 360:.2f}"  # counter-clockwise
    return _baseline(box(points), points[3], points[2])


def _baseline(around: Box, left: Point, right: Point) -> str:
    """Gives slope and height over the box's lower left corner; y runs down."""
    slope = (right[1] - left[1]) / (right[0] - left[0])
    height = left[1] + slope * (around[0] - left[0]) - around[3]
    return f"; baseline {slope:.4f} {height:.1f}"
