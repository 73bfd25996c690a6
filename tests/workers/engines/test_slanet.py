"""SLANet on its real weights, against PaddleX's own predictor, and the reading of its HTML."""

import os
import shutil

import numpy as np
import onnxruntime
import pytest
import yaml
from workers.sheets import Sheet

from triptych.core.errors import ModelNotFound
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.slanet import SlanetEngine, grid_of
from triptych.workers.engines.table import TableImage

STAGES = [
    {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
    {"TableLabelEncode": {"merge_no_span_structure": True}},
    {"TableBoxEncode": None},
    {"ResizeTableImage": {"max_len": 488}},
    {"NormalizeImage": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": "hwc"}},
    {"PaddingTableImage": {"size": [488, 488]}},
    {"ToCHWImage": None},
    {"KeepKeys": {"keep_keys": ["image"]}},
]
MERGED = [["City", "Sales", None, "Staff"], [None, "2019", "2020", None], ["North", "120.5", "131.0", "41"]]
SPANS = ((0, 0, 2, 1), (0, 1, 1, 2), (0, 3, 2, 1))


def places(grid):
    return [(cell.row, cell.column, cell.row_span, cell.column_span) for cell in grid.cells]


def boxes(count):
    return [(0.0, 0.0, 1.0, 1.0)] * count


@pytest.fixture
def engine(models_dir):
    engine = SlanetEngine(models_dir / "slanet-plus", ModelRef(model="slanet-plus"), device="cpu", threads=1)
    engine.load()
    return engine


@pytest.fixture
def drawn():
    sheet = Sheet(width=900, height=260)
    sheet.table(30, 40, MERGED, widths=(220, 200, 200, 200), spans=SPANS)
    return np.asarray(sheet.image)


@pytest.mark.weights
def test_it_finds_what_paddlex_finds(engine, drawn, models_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")
    from paddleocr import TableStructureRecognition

    weights = models_dir / "slanet-plus" / "slanet-plus.onnx"
    shutil.copy(weights, tmp_path / "inference.onnx")
    tags = onnxruntime.InferenceSession(weights).get_modelmeta().custom_metadata_map["character"].split("\n")
    post = {"name": "TableLabelDecode", "character_dict": tags}
    settings = {"Global": {"model_name": "SLANet_plus"}, "PreProcess": {"transform_ops": STAGES}, "PostProcess": post}
    (tmp_path / "inference.yml").write_text(yaml.safe_dump(settings))
    theirs = TableStructureRecognition(
        model_name="SLANet_plus", model_dir=str(tmp_path), engine="onnxruntime", device="cpu"
    ).predict([drawn[..., ::-1]])[0]
    [ours] = engine.run_batch([TableImage(pixels=drawn)])
    corners = np.array(theirs["bbox"]).reshape(-1, 4, 2)
    expected = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    assert np.abs(np.array([cell.box for cell in ours.cells]) - expected).max() <= 2
    assert places(ours) == places(grid_of(theirs["structure"], boxes(len(expected)), 1))
    assert ours.confidence == pytest.approx(theirs["structure_score"], abs=0.01)


@pytest.mark.weights
def test_it_finds_spans_and_no_company_changes_them(engine, drawn):
    noise = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    alone, _, again = engine.run_batch([TableImage(pixels=image) for image in (drawn, noise, drawn)])
    assert alone == again
    assert tuple(place for place in places(alone) if place[2:] != (1, 1)) == SPANS
    assert (alone.row_count, alone.column_count) == (3, 4)


def test_cells_stand_where_html_puts_them():
    first = ["<tr>", "<td", ' rowspan="2"', ">", "</td>", "<td", ' colspan="2"', ">", "</td>", "</tr>"]
    second = ["<tr>", "<td></td>", "<td></td>", "</tr>"]
    grid = grid_of([*first, *second], boxes(4), 0.5)
    assert places(grid) == [(0, 0, 2, 1), (0, 1, 1, 2), (1, 1, 1, 1), (1, 2, 1, 1)]
    assert (grid.row_count, grid.column_count, grid.confidence) == (2, 3, 0.5)


def test_spans_that_leave_the_table_or_meet_another_cell_are_cut():
    far = ["<tr>", "<td></td>", "<td", ' rowspan="9"', ">", "</td>", "</tr>"]
    meeting = ["<tr>", "<td", ' colspan="3"', ">", "</td>", "<td></td>", "</tr>"]
    grid = grid_of([*far, *meeting], boxes(4), 1)
    assert places(grid) == [(0, 0, 1, 1), (0, 1, 2, 1), (1, 0, 1, 1), (1, 2, 1, 1)]


def test_only_what_stands_in_the_head_is_a_heading():
    tags = ["<thead>", "<tr>", "<td></td>", "</tr>", "</thead>", "<tbody>", "<tr>", "<td></td>", "</tr>", "</tbody>"]
    assert [cell.header for cell in grid_of(tags, boxes(2), 1).cells] == [True, False]
    assert grid_of([], [], 0).cells == ()


def test_a_folder_without_a_model_is_refused(tmp_path):
    engine = SlanetEngine(tmp_path, ModelRef(model="x"), device="cpu", threads=1)
    with pytest.raises(ModelNotFound, match=r"has to hold one \*.onnx, not 0"):
        engine.load()
