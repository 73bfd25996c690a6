"""Layout and tables on the real models, over pages drawn here."""

import functools

import numpy as np
import pytest
from workers.documents import encoded, ocr_attempt
from workers.sheets import PROSE, Sheet, matrix, pdf_table

from triptych.core.catalog import Catalog
from triptych.core.errors import FeatureDisabled, FieldInvalid, JobCancelled
from triptych.core.settings import Settings
from triptych.v1.ocr_pb2 import (
    EMBEDDED_TEXT_POLICY_IGNORE,
    OCR_MODE_LAYOUT,
    OCR_MODE_TEXT,
    TEXT_ORIGIN_EMBEDDED,
    TEXT_ORIGIN_RECOGNIZED,
    BlockKind,
    OcrConfig,
    OcrPage,
)
from triptych.workers import works
from triptych.workers.kinds import ocr
from triptych.workers.recognition.structure import structure
from triptych.workers.stations import Stations

pytestmark = pytest.mark.weights
LAYOUT = OcrConfig(mode=OCR_MODE_LAYOUT)
MODELS = {"layout_model": "picodet-cdla", "table_model": "slanet-plus"}
WIDTHS = (260, 200, 200, 200)
SALES = [
    ["City", "2019", "2020", "Change"],
    ["North", "120.5", "131.0", "8.7"],
    ["South", "98.2", "90.4", "-7.9"],
    ["East", "77.0", "85.5", "11.0"],
    ["West", "64.3", "70.1", "9.0"],
]
MERGED = [
    ["City", "Sales", None, "Staff"],
    [None, "2019", "2020", None],
    ["North", "120.5", "131.0", "41"],
    ["South", "98.2", "90.4", "37"],
    ["East", "77.0", "85.5", "29"],
]
SPANS = ((0, 0, 2, 1), (0, 1, 1, 2), (0, 3, 2, 1))


@pytest.fixture(scope="module")
def stations(models_dir):
    settings = Settings(_env_file=None, models_dir=models_dir)
    held = Stations(settings, "ocr", Catalog.load(settings))
    with held.lent() as loan:
        yield loan
    held.stop()


def read(stations, document, config=LAYOUT):
    attempt, spec, _ = ocr_attempt(document, config=config)
    return ocr.run(attempt, spec, stations, **MODELS)


def page_of(stations, document, config=LAYOUT):
    [page] = read(stations, document, config).pages
    assert_consistent(page)
    return page


def assert_consistent(page):
    """Every line stands in one block, where it says in the text, and every place on the page."""
    assert "\n".join(line.text for line in page.lines) == page.text
    assert all(page.text[line.text_start : line.text_end] == line.text for line in page.lines)
    assert [index for block in page.blocks for index in block.line_indices] == list(range(len(page.lines)))
    tables = [block.table_index for block in page.blocks if block.HasField("table_index")]
    assert sorted(tables) == list(range(len(page.tables)))
    polygons = [block.polygon for block in page.blocks] + [cell.polygon for t in page.tables for cell in t.cells]
    assert all(len(polygon) == 8 and all(0 <= value <= 1 for value in polygon) for polygon in polygons)


@pytest.fixture(scope="module")
def report_result(stations):
    return read(stations, encoded(report()))


@pytest.fixture(scope="module")
def report_lines(stations):
    """The page with lines and words, as the OCR engine gives it."""
    attempt, spec, _ = ocr_attempt(encoded(report()), config=OcrConfig(mode=OCR_MODE_TEXT, enable_words=True))
    [page] = ocr.run(attempt, spec, stations).pages
    return page


def kinds(page):
    return [BlockKind.Name(block.kind).removeprefix("BLOCK_KIND_") for block in page.blocks]


def text_of(page, block):
    return " ".join(page.lines[index].text for index in block.line_indices)


@functools.cache
def report():
    """A page with a title, a table between paragraphs, and a page number."""
    sheet = Sheet()
    sheet.text(120, 80, "Sales by city", size=40, bold=True)
    sheet.prose(120, 170, 4)
    sheet.table(150, 420, SALES, widths=WIDTHS)
    sheet.prose(120, 760, 5)
    sheet.text(600, 1690, "17", size=20)
    return sheet.image


def test_a_ruled_table_between_paragraphs(report_result):
    result = report_result
    [page] = result.pages
    assert_consistent(page)
    assert kinds(page) == ["TITLE", "PARAGRAPH", "TABLE", "PARAGRAPH", "PAGE_FOOTER"]
    [table] = page.tables
    assert matrix(table) == SALES
    assert {cell.row_index for cell in table.cells if cell.header} == {0}
    assert page.blocks[0].markdown == "# Sales by city"
    assert page.blocks[2].markdown.splitlines()[2] == "| North | 120.5 | 131.0 | 8.7 |"
    assert page.blocks[4].markdown == "17"
    assert [(model.model, bool(model.revision), model.licence) for model in result.structure_models] == [
        ("picodet-cdla", True, "Apache-2.0"),
        ("slanet-plus", True, "Apache-2.0"),
    ]
    assert not any(line.words for line in page.lines)


def test_cells_are_where_they_were_drawn(report_result):
    [page] = report_result.pages
    cell = next(cell for cell in page.tables[0].cells if cell.text == "85.5")
    left, top, _, _, right, bottom, _, _ = np.array(cell.polygon) * np.tile(report().size, 4)
    # Drawn in column 2, row 3.
    assert abs((left + right) / 2 - (150 + 260 + 200 + 100)) < 60
    assert abs((top + bottom) / 2 - (420 + 3 * 50 + 25)) < 25


def test_a_table_without_lines(stations):
    sheet = Sheet()
    sheet.prose(120, 100, 4)
    sheet.table(150, 420, SALES, widths=WIDTHS, ruled=False)
    sheet.prose(120, 760, 5)
    page = page_of(stations, encoded(sheet.image))
    assert kinds(page) == ["PARAGRAPH", "TABLE", "PARAGRAPH"]
    assert matrix(page.tables[0]) == SALES


def test_merged_headings_and_several_tables_on_a_page(stations):
    sheet = Sheet()
    sheet.prose(120, 100, 4)
    sheet.table(150, 300, SALES, widths=WIDTHS)
    sheet.prose(120, 600, 5)
    sheet.table(150, 900, MERGED, widths=WIDTHS, spans=SPANS)
    sheet.prose(120, 1300, 5)
    page = page_of(stations, encoded(sheet.image))
    assert kinds(page) == ["PARAGRAPH", "TABLE", "PARAGRAPH", "TABLE", "PARAGRAPH"]
    plain, merged = page.tables
    assert matrix(plain) == SALES
    assert matrix(merged) == MERGED
    spans = [(c.row_index, c.column_index, c.row_span, c.column_span) for c in merged.cells]
    assert tuple(span for span in spans if span[2:] != (1, 1)) == SPANS
    assert {cell.row_index for cell in merged.cells if cell.header} == {0, 1}
    assert page.blocks[3].markdown.startswith('<table>\n<tr><th rowspan="2">City</th><th colspan="2">Sales</th>')


def test_an_empty_table_has_its_cells(stations):
    sheet = Sheet()
    sheet.prose(120, 100, 4)
    sheet.table(150, 300, [[""] * 4] * 5, widths=WIDTHS)
    sheet.prose(120, 600, 5)
    page = page_of(stations, encoded(sheet.image))
    assert matrix(page.tables[0]) == [[""] * 4] * 5


def test_columns_are_read_one_after_the_other_under_their_title(stations):
    sheet = Sheet()
    sheet.text(420, 70, "Harbour Gazette", size=44, bold=True)
    sheet.prose(80, 200, 28, size=24)
    sheet.prose(660, 200, 28, size=24, lines=[text.replace("the", "a") for text in PROSE])
    page = page_of(stations, encoded(sheet.image))
    assert kinds(page) == ["TITLE", "PARAGRAPH", "PARAGRAPH"]
    left, right = (text_of(page, block) for block in page.blocks[1:])
    assert "the state of the harbour" in left
    assert "a state of a harbour" in right


def test_a_figure_and_its_caption(stations):
    sheet = Sheet()
    sheet.prose(120, 100, 6)
    sheet.chart(300, 420, 600, 380)
    sheet.text(400, 820, "Figure 1: Mail by day of the week", size=20)
    sheet.prose(120, 900, 8)
    page = page_of(stations, encoded(sheet.image))
    assert kinds(page) == ["PARAGRAPH", "FIGURE", "CAPTION", "PARAGRAPH"]
    assert page.blocks[2].markdown == "Figure 1: Mail by day of the week"


def test_a_list_and_a_footnote(stations):
    sheet = Sheet()
    sheet.prose(120, 100, 12, size=26)
    for index, text in enumerate(("1. ropes and sails", "2. lamps for the deck", "3. a spare anchor")):
        sheet.text(140, 640 + 45 * index, text, size=26)
    sheet.prose(120, 840, 14, size=26)
    sheet.text(120, 1560, "* As told by the harbour master in a letter of the third of May.", size=16)
    page = page_of(stations, encoded(sheet.image))
    [found] = [block for block in page.blocks if block.kind == BlockKind.BLOCK_KIND_LIST]
    assert found.markdown == "1. ropes and sails\n2. lamps for the deck\n3. a spare anchor"
    assert kinds(page)[-1] == "FOOTNOTE"


@pytest.mark.parametrize("ruled", [True, False])
@pytest.mark.parametrize("policy", [0, EMBEDDED_TEXT_POLICY_IGNORE])
def test_a_pdfs_table_is_found_in_its_own_text_and_in_its_pixels(stations, ruled, policy):
    document = pdf_table(SALES, widths=(140, 110, 110, 110), ruled=ruled)
    page = page_of(stations, document, OcrConfig(mode=OCR_MODE_LAYOUT, embedded_text_policy=policy, enable_words=True))
    assert page.text_origin == (TEXT_ORIGIN_RECOGNIZED if policy else TEXT_ORIGIN_EMBEDDED)
    assert matrix(page.tables[0]) == SALES
    assert all(line.words for line in page.lines)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_page_has_the_same_structure_with_places_on_the_page_as_shown(stations, report_lines, degrees):
    upright, lines = np.asarray(report()), report_lines
    attempt, _, _ = ocr_attempt(encoded(report()), config=LAYOUT)
    finder = structure(attempt, stations.get, "picodet-cdla", "slanet-plus", LAYOUT)

    def shown(polygon):
        x, y = polygon[::2], polygon[1::2]
        turned = {90: (y, [1 - a for a in x]), 180: ([1 - a for a in x], [1 - b for b in y])}
        xs, ys = turned.get(degrees, ([1 - b for b in y], x))
        return [value for pair in zip(xs, ys, strict=True) for value in pair]

    def found(page, pixels):
        steps, value = finder.steps(page, pixels), None
        try:
            while True:
                value = steps.send(value).result().value
        except StopIteration as end:
            return end.value

    straight = found(OcrPage.FromString(lines.SerializeToString()), upright)
    turned = OcrPage.FromString(lines.SerializeToString())
    turned.applied_rotation_degrees = degrees
    for line in turned.lines:
        for part in (line, *line.words):
            part.polygon[:] = shown(part.polygon)
    page = found(turned, np.rot90(upright, degrees // 90))
    assert page.text == straight.text
    assert kinds(page) == kinds(straight)
    assert matrix(page.tables[0]) == SALES
    for one, other in zip(page.blocks, straight.blocks, strict=True):
        assert list(one.polygon) == pytest.approx(shown(other.polygon), abs=0.005)


def test_each_page_of_a_document_has_its_own_layout(stations, report_result):
    first = Sheet()
    first.prose(120, 100, 6)
    result = read(stations, encoded(first.image, "TIFF", save_all=True, append_images=[report().copy()]))
    assert kinds(result.pages[0]) == ["PARAGRAPH"]
    assert result.pages[0].text.splitlines()[0] == PROSE[0]
    assert list(result.pages[1].blocks) == list(report_result.pages[0].blocks)
    assert list(result.pages[1].tables) == list(report_result.pages[0].tables)


def test_without_its_models_layout_is_refused_with_what_to_do(stations, tmp_path):
    def refusal(getter, **models):
        attempt, spec, _ = ocr_attempt(encoded(report()), config=LAYOUT)
        with pytest.raises(FeatureDisabled) as refused:
            ocr.run(attempt, spec, getter, **{**MODELS, **models})
        return str(refused.value)

    assert "TRIPTYCH_LAYOUT_MODEL is empty" in refusal(stations, layout_model="")
    assert "TRIPTYCH_TABLE_MODEL is empty" in refusal(stations, table_model="")
    assert "slanet-plus does not fit TRIPTYCH_LAYOUT_MODEL" in refusal(stations, layout_model="slanet-plus")
    assert "no model is called" in refusal(stations, layout_model="picodet")
    (tmp_path / "pp-ocrv6-small").symlink_to(Settings(_env_file=None).models_dir / "pp-ocrv6-small")
    settings = Settings(_env_file=None, models_dir=tmp_path)
    bare = Stations(settings, "ocr", Catalog.load(settings))
    with bare.lent() as loan:
        assert "`triptych models pull picodet-cdla`" in refusal(loan)
    bare.stop()


@pytest.mark.parametrize("model", MODELS.values())
def test_a_model_that_finds_layout_reads_no_text(stations, model):
    attempt, spec, _ = ocr_attempt(encoded(report()), config=OcrConfig(model=model))
    with pytest.raises(FieldInvalid, match="reads no text"):
        ocr.run(attempt, spec, stations)


def test_pages_with_and_without_layout_are_different_units(stations):
    _, spec, _ = ocr_attempt(encoded(report()), config=LAYOUT)
    layout, tables = (stations.get(name).engine.model for name in MODELS.values())
    text = stations.get().engine.model

    def key(*models, mode):
        spec.config.mode = mode
        return works.reading(spec, *models, dpi=200, max_page_pixels=1).key

    keys = {
        key(text, mode=OCR_MODE_TEXT),
        key(text, layout, tables, mode=OCR_MODE_LAYOUT),
        key(text, tables, layout, mode=OCR_MODE_LAYOUT),
    }
    assert len(keys) == 3


def test_what_is_stopped_is_not_computed(stations):
    from triptych.workers.engines.layout import LayoutImage
    from triptych.workers.engines.table import TableImage

    pixels = np.asarray(report())
    for name, kind in zip(MODELS.values(), (LayoutImage, TableImage), strict=True):
        engine = stations.get(name).engine
        stopped, wanted = engine.run_batch([kind(pixels=pixels, stopped=lambda: True), kind(pixels=pixels)])
        assert isinstance(stopped, JobCancelled)
        assert not isinstance(wanted, Exception)
