"""PP-OCR read by us and by PaddleX's own pipeline: the same boxes and the same texts."""

import math
import os

import cv2
import numpy as np
import pytest
from workers.documents import ocr_engine, picture

from triptych.workers.engines.ocr_runtime import OcrRuntime
from triptych.workers.engines.paddle_crops import HEIGHT_PX, MIN_WIDTH_PX, cut_out
from triptych.workers.engines.paddle_detection import MAX_SIDE_PX, detection_input, text_boxes
from triptych.workers.engines.paddle_model import PaddleModel
from triptych.workers.engines.paddle_recognition import decoded, likeliest, recognition_input
from triptych.workers.media.images import decode_image

# Read when PaddleX is imported: it would look for model servers.
os.environ["PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK"] = "True"
SETTINGS = {"limit_side_len": 64, "limit_type": "min", "thresh": 0.3, "box_thresh": 0.6, "unclip_ratio": 1.5}


@pytest.fixture(scope="module")
def paddlex(models_dir):
    """PaddleX's own detection, cropping and recognition."""
    from paddleocr import TextDetection, TextRecognition
    from paddlex.inference.pipelines.components import CropByPolys

    def options(role):
        folder = models_dir / "pp-ocrv6-small" / role
        return {
            "model_name": PaddleModel.read(folder).name,
            "model_dir": str(folder),
            "engine": "onnxruntime",
            "device": "cpu",
            "engine_config": {"intra_op_num_threads": 1},
        }

    return TextDetection(**options("det"), **SETTINGS), CropByPolys(), TextRecognition(**options("rec"))


def pages(data_dir):
    """Pages of many kinds, shape (height, width, 3), BGR."""
    stored = [
        decode_image((data_dir / "pages" / name).read_bytes(), max_page_pixels=100_000_000)
        for name in ("phototest.tif", "oyo_receipt.png")
    ]
    printed = np.asarray(picture("Zürich, 24. März 2026", "Total: 1.234,50 EUR", "甲乙丙丁 Straße 7"))
    height, width, _ = printed.shape
    slanted = cv2.warpAffine(
        printed, cv2.getRotationMatrix2D((width / 2, height / 2), 7, 0.8), (width, height), borderValue=(255, 255, 255)
    )
    sideways = np.rot90(printed)
    speck, strip = np.full((9, 20, 3), 255, np.uint8), np.full((5, 3000, 3), 200, np.uint8)
    return [np.ascontiguousarray(page[..., ::-1]) for page in (*stored, printed, slanted, sideways, speck, strip)]


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def networks(models_dir, request):
    """Detection and recognition on one of the runtimes, as functions of their input."""
    runtime = OcrRuntime(lines=request.param, device="cpu", threads=1)

    def network(role):
        lanes = runtime.load_recognizer(models_dir / "pp-ocrv6-small" / role)

        def run(values):
            [(_, output)] = lanes.run([values], values=lambda given: given, result=np.copy, unwanted=lambda _: False)
            return output

        return run

    return network("det"), network("rec")


@pytest.mark.weights
def test_boxes_are_those_of_paddlex(paddlex, networks, models_dir, data_dir):
    detector, _, _ = paddlex
    normalization = PaddleModel.read(models_dir / "pp-ocrv6-small" / "det").normalization
    counts = []
    for page in pages(data_dir):
        theirs = detector.predict([page], batch_size=1, max_side_limit=MAX_SIDE_PX)[0]["dt_polys"]
        probabilities = networks[0](detection_input(page, normalization))
        ours = text_boxes(probabilities, page.shape[1], page.shape[0])
        assert ours.tolist() == np.array(theirs).reshape(-1, 4, 2).tolist()
        counts.append(len(ours))
    assert min(counts[:5]) >= 3


def as_paddlex_scales(crop):
    """Gives a line at the height of the network, and how much of its width is text.

    The engine differs: it rounds the width of long lines up, and pads them to one of a few widths, to run together.
    """
    width = HEIGHT_PX * (crop.shape[1] / crop.shape[0])
    text_width = min(math.ceil(width), max(MIN_WIDTH_PX, int(width)))
    pixels = np.zeros((HEIGHT_PX, max(MIN_WIDTH_PX, text_width), 3), np.uint8)
    pixels[:, :text_width] = cv2.resize(crop, (text_width, HEIGHT_PX))
    return pixels, text_width


@pytest.mark.weights
def test_crops_are_those_of_paddlex_and_so_are_their_texts(paddlex, networks, models_dir, data_dir):
    detector, crop_by_polygons, recognizer = paddlex
    characters = PaddleModel.read(models_dir / "pp-ocrv6-small" / "rec").characters
    texts = []
    for page in pages(data_dir):
        polygons = detector.predict([page], batch_size=1, max_side_limit=MAX_SIDE_PX)[0]["dt_polys"]
        for polygon, theirs in zip(polygons, crop_by_polygons(page, polygons), strict=True):
            assert np.array_equal(cut_out(page, polygon), theirs)
            pixels, text_width = as_paddlex_scales(theirs)
            classes = likeliest(networks[1](recognition_input([pixels], [text_width])))
            [(text, columns, confidence)] = decoded(classes, characters)
            read = recognizer.predict([theirs], batch_size=1, return_word_box=True)[0]
            assert text == read["rec_text"][0]
            assert confidence == pytest.approx(read["rec_score"], abs=1e-3)
            assert columns == [column for word in read["rec_text"][1][2] for column in word]
            texts.append(text)
    assert len(texts) > 50
    assert any("1.234,50" in text for text in texts)


@pytest.mark.weights
def test_both_runtimes_read_the_same(models_dir, data_dir):
    from triptych.workers.engines.paddle_ocr import PageImage

    def read(runtime):
        engine = ocr_engine(models_dir, runtime)
        items = [PageImage(pixels=np.ascontiguousarray(page[..., ::-1])) for page in pages(data_dir)]
        return [
            [(line.text, [round(value, 3) for value in line.polygon]) for line in page.lines]
            for page in engine.run_batch(items)
        ]

    assert read("openvino") == read("onnxruntime")
