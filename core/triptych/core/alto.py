"""Writes pages as ALTO 4, the Library of Congress' format of recognized text.

https://www.loc.gov/standards/alto/. Only what 4.2 has is written, so that files are valid by every later 4.x, too.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from triptych.core.line_words import LineWord, words_of
from triptych.core.page_areas import Area, areas_of
from triptych.core.page_geometry import Box, box, pixels, turn_degrees
from triptych.core.release import version
from triptych.core.xml_text import XML, legal, written
from triptych.v1.ocr_pb2 import BlockKind, OcrPage, OcrResult, TextLine

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
SCHEMA_VERSION = "4.2"
_STEP = "OCR"


def alto(result: OcrResult) -> str:
    """Gives the file, with pixels as its unit.

    Args:
        result: Passes `check_pages`.
    """
    # Page by page: a tree of all of them would be many times larger than its text.
    pages = "\n".join(map(_page, result.pages))
    root = f'<alto xmlns="{NAMESPACE}" SCHEMAVERSION="{SCHEMA_VERSION}">'
    return f"{XML}{root}\n{_description(result)}\n<Layout>\n{pages}\n</Layout>\n</alto>\n"


def _description(result: OcrResult) -> str:
    found = ET.Element("Description")
    ET.SubElement(found, "MeasurementUnit").text = "pixel"
    step = ET.SubElement(found, "Processing", {"ID": _STEP})
    ET.SubElement(step, "processingCategory").text = "contentGeneration"
    ET.SubElement(step, "processingStepDescription").text = "text recognition"
    model = result.model
    settings = f"model {model.model}, revision {model.revision}, engine {model.engine}, licence {model.licence}"
    ET.SubElement(step, "processingStepSettings").text = legal(settings)
    software = ET.SubElement(step, "processingSoftware")
    ET.SubElement(software, "softwareName").text = "triptych"
    ET.SubElement(software, "softwareVersion").text = version()
    return written(found)


def _page(page: OcrPage) -> str:
    number, size = page.page_number, {"WIDTH": str(page.width_px), "HEIGHT": str(page.height_px)}
    facts = {"ID": f"page_{number}", "PHYSICAL_IMG_NR": str(number), "PROCESSINGREFS": _STEP, **size}
    if page.HasField("error"):
        # The page is there, its text is not.
        facts |= {"QUALITY": "Missing", "QUALITY_DETAIL": legal(page.error.message)}
    found = ET.Element("Page", facts)
    space = ET.SubElement(found, "PrintSpace", {"HPOS": "0", "VPOS": "0", **size})
    for index, area in enumerate(areas_of(page), 1):
        _block(space, page, area, f"{number}_{index}")
    return written(found)


def _block(space: ET.Element, page: OcrPage, area: Area, name: str) -> None:
    facts = {"ID": f"block_{name}", **_place(area.box)}
    if not area.lines:
        if area.kind == BlockKind.BLOCK_KIND_FIGURE:
            ET.SubElement(space, "Illustration", facts)
        return
    found = ET.SubElement(space, "TextBlock", facts)
    for index, line in enumerate(area.lines, 1):
        _line(found, page, line, f"{name}_{index}")


def _line(block: ET.Element, page: OcrPage, line: TextLine, name: str) -> None:
    points = pixels(line.polygon, page)
    facts = {"ID": f"line_{name}", **_place(box(points))}
    if abs(turn_degrees(points)) > 0.05:
        (right, right_y), (left, left_y) = points[2], points[3]
        facts["BASELINE"] = f"{left:.1f},{left_y:.1f} {right:.1f},{right_y:.1f}"
    found = ET.SubElement(block, "TextLine", facts)
    words = [(word, _box(page, word)) for word in words_of(line)]
    for index, (word, around) in enumerate(words):
        _string(found, word, around, f"{name}_{index + 1}")
        if word.spaced:
            ET.SubElement(found, "SP", _place(_gap(around, words[index + 1][1])))


def _string(line: ET.Element, word: LineWord, around: Box, name: str) -> None:
    facts = {"ID": f"word_{name}", "CONTENT": legal(word.text), **_place(around)}
    if word.confidence is not None:
        facts["WC"] = f"{min(1.0, max(0.0, word.confidence)):.4f}"
    ET.SubElement(line, "String", facts)


def _box(page: OcrPage, word: LineWord) -> Box:
    one, two, three, four = ((x * page.width_px, y * page.height_px) for x, y in word.corners)
    return box((one, two, three, four))


def _gap(before: Box, after: Box) -> Box:
    """Gives the blank between two words, which may follow each other to the left or downwards."""
    left, right = sorted((min(before[2], after[2]), max(before[0], after[0])))
    return left, min(before[1], after[1]), right, max(before[3], after[3])


def _place(found: Box) -> dict[str, str]:
    left, top, right, bottom = found
    return {"HPOS": str(left), "VPOS": str(top), "WIDTH": str(right - left), "HEIGHT": str(bottom - top)}
