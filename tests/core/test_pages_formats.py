"""hOCR and ALTO by their specifications, and what every format makes of pages that are unlike others."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from read_papers import line, page, result

from triptych.core.pages_check import check_pages
from triptych.core.pages_formats import FORMATS
from triptych.v1.ocr_pb2 import BlockKind, OcrPage, OcrResult, TextLine, TextOrigin
from triptych.v1.ocr_service_pb2 import PagesFormat

SCHEMA = Path(__file__).parents[1] / "data" / "alto" / "alto-4-2.xsd"
# The one part of W3C's XLink that ALTO's schema names.
XLINK = """<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="http://www.w3.org/1999/xlink">
  <attributeGroup name="simpleLink">
    <anyAttribute namespace="##targetNamespace" processContents="skip"/>
  </attributeGroup>
</schema>"""
ALTO, HTML = "{http://www.loc.gov/standards/alto/ns-v4#}", "{http://www.w3.org/1999/xhtml}"


def write(found, name):
    check_pages(found)
    return FORMATS[PagesFormat.Value(f"PAGES_FORMAT_{name}")].write(found)


class _Xlink(etree.Resolver):
    def resolve(self, url, _public_id, context):
        return self.resolve_string(XLINK, context) if url.endswith("xlink.xsd") else None


@pytest.fixture(scope="module")
def schema():
    parser = etree.XMLParser()
    parser.resolvers.add(_Xlink())
    return etree.XMLSchema(etree.parse(str(SCHEMA), parser))


def parsed(text):
    return etree.fromstring(text.encode())


def box_of(element):
    return [int(number) for number in re.search(r"bbox (\d+) (\d+) (\d+) (\d+)", element.get("title")).groups()]


def turned(text, *corners):
    return TextLine(text=text, polygon=[number for corner in corners for number in corner], confidence=0.5)


PLAIN = page(
    line('A <b> & \x0b\ufffe"c"', 0.1, 0.1, 0.5, confidence=0.875),
    line("second  line", 0.1, 0.2, 0.5),
    line("שלום עולם", 0.1, 0.3, 0.5),
    line("中文", 0.1, 0.4, 0.2),
)
TURNED = page(
    turned("upwards", (0.1, 0.9), (0.1, 0.5), (0.2, 0.5), (0.2, 0.9)),
    turned("askew", (0.3, 0.3), (0.8, 0.4), (0.8, 0.44), (0.3, 0.34)),
    turned("on its head", (0.8, 0.1), (0.3, 0.1), (0.3, 0.05), (0.8, 0.05)),
    turned("of six corners", (0.1, 0.95), (0.3, 0.94), (0.5, 0.95), (0.5, 0.99), (0.3, 1.0), (0.1, 0.99)),
    number=2,
)
FAILED = OcrPage(page_number=3, error={"code": 3, "message": "the page -- cannot\x00 be drawn <"})
EMPTY = page(number=4)
EMBEDDED = page(line("out of the file", 0.1, 0.1, 0.3), number=5, origin=TextOrigin.TEXT_ORIGIN_EMBEDDED)
LAYOUT = page(line("Title", 0.1, 0.05, 0.3), line("cell", 0.1, 0.5, 0.3), line("alone", 0.1, 0.8, 0.3), number=6)
for kind, lines in (
    (BlockKind.BLOCK_KIND_TITLE, [0]),
    (BlockKind.BLOCK_KIND_TABLE, [1, 0]),
    (BlockKind.BLOCK_KIND_FIGURE, []),
):
    LAYOUT.blocks.add(kind=kind, line_indices=lines, polygon=[0.1, 0.1, 0.6, 0.1, 0.6, 0.6, 0.1, 0.6])
ODD = result(PLAIN, TURNED, FAILED, EMPTY, EMBEDDED, LAYOUT)


def test_alto_is_valid_by_its_schema(schema):
    found = parsed(write(ODD, "ALTO"))
    schema.assertValid(found)
    assert [each.get("PHYSICAL_IMG_NR") for each in found.iter(f"{ALTO}Page")] == ["1", "2", "3", "4", "5", "6"]


def test_the_schema_refuses_what_is_no_alto(schema):
    broken = write(ODD, "ALTO").replace('CONTENT="alone"', "")
    assert not schema.validate(parsed(broken)), "a test that cannot fail proves nothing"


def test_alto_says_what_read_it_and_where_each_word_stands(schema):
    found = parsed(write(result(PLAIN), "ALTO"))
    assert "model m, revision r, engine e/1" in found.findtext(f".//{ALTO}processingStepSettings")
    strings = {each.get("CONTENT"): each for each in found.iter(f"{ALTO}String")}
    assert list(strings) == ["A", "<b>", "&", '"c"', "second", "line", "שלום", "עולם", "中", "文"]
    assert {name: strings["A"].get(name) for name in ("HPOS", "VPOS", "HEIGHT", "WC")} == {
        "HPOS": "100", "VPOS": "140", "HEIGHT": "42", "WC": "0.8750",
    }  # fmt: skip
    assert strings["second"].get("WC") is None
    assert int(strings["שלום"].get("HPOS")) > int(strings["עולם"].get("HPOS")), "the first word is to the right"
    (gap,) = [line.findall(f"{ALTO}SP") for line in found.iter(f"{ALTO}TextLine")][1]
    assert int(gap.get("HPOS")) >= int(strings["second"].get("HPOS")) + int(strings["second"].get("WIDTH")) - 1


def test_a_page_that_failed_is_missing_in_alto():
    pages = list(parsed(write(ODD, "ALTO")).iter(f"{ALTO}Page"))
    assert (pages[2].get("QUALITY"), pages[2].get("QUALITY_DETAIL")) == ("Missing", "the page -- cannot be drawn <")
    assert [each.get("QUALITY") for each in pages if each is not pages[2]] == [None] * 5


def test_hocr_passes_the_validator_of_its_specification(tmp_path):
    path = tmp_path / "pages.hocr"
    path.write_text(write(ODD, "HOCR"), encoding="utf-8")
    # A process of its own: the module warns as it is compiled.
    command = [sys.executable, "-W", "ignore", "-c", "from hocr_spec.cli import main; main()", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Document is valid" in told.stdout, told.stdout + told.stderr
    path.write_text(path.read_text("utf-8").replace("bbox", "box"), encoding="utf-8")
    assert "ERROR" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_hocr_is_xhtml_with_places():
    found = parsed(write(ODD, "HOCR"))
    pages = found.findall(f".//{HTML}div[@class='ocr_page']")
    assert [each.get("title") for each in pages[:2]] == [
        "bbox 0 0 1000 1400; ppageno 0",
        "bbox 0 0 1000 1400; ppageno 1",
    ]
    words = pages[0].findall(f".//{HTML}span[@class='ocrx_word']")
    assert [word.text for word in words][:4] == ["A", "<b>", "&", '"c"']
    assert words[0].get("title").endswith("; x_wconf 88")
    assert box_of(words[0])[:2] == [100, 140]
    assert box_of(words[3])[2:] == [600, 182]
    assert "x_wconf" not in words[5].get("title")
    lines = found.findall(f".//{HTML}span[@class='ocr_line']")
    assert ["".join(each.itertext()) for each in lines][1:4] == ["second line", "שלום עולם", "中文"]
    ids = [each.get("id") for each in found.iter() if each.get("id")]
    assert len(ids) == len(set(ids))


def test_hocr_says_how_lines_are_turned():
    lines = parsed(write(result(TURNED), "HOCR")).findall(f".//{HTML}span[@class='ocr_line']")
    titles = {"".join(each.itertext()).split()[0]: each.get("title") for each in lines}
    assert "textangle 90.00" in titles["upwards"], "counter-clockwise"
    assert "textangle 180.00" in titles["on"]
    # Down 140 px on 500: from 336 + 140 px at the left end of the lower edge, the box ends at 616.
    assert "baseline 0.2800 -140.0" in titles["askew"]
    assert "baseline" not in titles["of"]
    assert "textangle" not in titles["of"]


def test_hocr_writes_each_line_once_in_its_block():
    (found,) = parsed(write(result(LAYOUT), "HOCR")).iter(f"{HTML}body")
    areas = [(each.get("class"), " ".join("".join(each.itertext()).split())) for each in found[0]]
    assert areas == [("ocr_carea", "Title"), ("ocr_table", "cell"), ("ocr_photo", ""), ("ocr_carea", "alone")]


def test_text_parts_pages_by_form_feeds():
    assert write(ODD, "TEXT").split("\f")[1:4] == [f"{TURNED.text}\n", "", ""]
    assert write(result(page(line("a\fb", 0, 0, 1))), "TEXT") == "a b\n"


def test_json_is_the_result():
    assert json_format.ParseDict(json.loads(write(ODD, "JSON")), OcrResult()) == ODD


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.floats(width=32)
LINES = st.builds(
    lambda text, polygon, confidence: TextLine(text=text, polygon=polygon, confidence=confidence),
    TEXTS, st.lists(NUMBERS, min_size=8, max_size=8), NUMBERS,
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(LINES, max_size=4), TEXTS)
def test_whatever_callers_send_is_valid(schema, lines, message):
    failed = OcrPage(page_number=2, error={"code": 3, "message": message})
    found = result(page(*lines), failed)
    schema.assertValid(parsed(write(found, "ALTO")))
    assert parsed(write(found, "HOCR")).tag == f"{HTML}html"
    assert write(found, "TEXT").count("\f") == 1
    assert write(found, "HTML").endswith("</html>\n")
    json.loads(write(found, "JSON"))
    write(found, "MARKDOWN")
