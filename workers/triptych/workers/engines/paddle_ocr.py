"""Reads pages with PaddleOCR on ONNX Runtime; the text lines of all pages of a batch are recognized together."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import FeatureDisabled, JobCancelled
from triptych.core.page_turns import turned
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import TEXT_ORIGIN_RECOGNIZED, OcrPage
from triptych.workers.engines.base import Engine
from triptych.workers.engines.heeding import Unwanted, left_when
from triptych.workers.engines.onnx_heeding import HeedingSession
from triptych.workers.engines.paddle_crops import LineCrop, along_text, chunks_of_equal_width, line_crop
from triptych.workers.engines.paddle_lines import FoundLine, text_lines
from triptych.workers.engines.paddle_orientation import PageOrientation, better_readings, directions, turned_over
from triptych.workers.media.reading_order import write_lines

Pixels = npt.NDArray[np.uint8]

# Detection as PaddleOCR's own pipeline does it, in full resolution up to the side below.
DETECTION = {
    "limit_side_len": 64,
    "limit_type": "min",
    "thresh": 0.3,
    "box_thresh": 0.6,
    "unclip_ratio": 1.5,
}
# PaddleOCR's own limit is 4000 px, which takes 4 GB and misses large print; 2560 px is A4 at 220 dpi, and 2 GB at most.
# Lines are cut out of the page as it came, whatever its size.
MAX_DETECTION_SIDE_PX = 2560
# Boxes come as 16-bit integers: a longer side would overflow.
MAX_SIDE_PX = 32_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageImage:
    """One page to read.

    Attributes:
        pixels: Shape (height, width, 3), RGB.
        words: Whether lines get their words.
        min_confidence: Lines below it are dropped.
        find_turn: Whether the way the page is turned is found out, and the page read upright.
        stopped: Whether nobody wants the page any more; asked between steps, so cheap.
    """

    pixels: Pixels
    words: bool = False
    min_confidence: float = 0.0
    find_turn: bool = True
    stopped: Callable[[], bool] = lambda: False


class PaddleOcrEngine(Engine[PageImage, OcrPage]):
    """PP-OCR text detection and recognition.

    Detection runs page by page; the line crops of all pages are pooled and recognized in chunks of equal width. A
    crop's width is rounded up by itself, never by its neighbours', so a text does not depend on what else is in the
    batch.

    Pages on their side or on their head are read upright, and so is a single line of that kind on an upright page: a
    line that is read badly is read once more, turned over.

    Args:
        folder: Holds `det/`, `rec/` and, where turned pages are to be found before they are read, `doc_ori/`; each has
            `inference.onnx` and `inference.yml`.
        model: Named in results.
        device: "cpu", "cuda", or "auto": a GPU if ONNX Runtime has one.
        threads: CPU threads; 0: as many as the process may use.
    """

    def __init__(self, folder: Path, model: ModelRef, *, device: str = "auto", threads: int = 0) -> None:
        self.model = model
        self._folder = folder
        self._device = device
        self._threads = threads or len(os.sched_getaffinity(0))
        self._detector: Any = None
        self._recognizer: Any = None
        self._orientation: PageOrientation | None = None
        self._crop_by_polygons: Any = None

    def load(self) -> None:
        """Reads both models: about 3 s, most of it PaddleX importing itself.

        Raises:
            FeatureDisabled: "cuda" is wanted, but ONNX Runtime was built without it.
        """
        # Read once, while PaddleX is imported: otherwise it looks for model servers on the network first.
        os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")
        import onnxruntime
        from paddleocr import TextDetection, TextRecognition
        from paddlex.inference.pipelines.components import CropByPolys

        for name in ("paddlex", "paddleocr"):
            logging.getLogger(name).setLevel(logging.ERROR)
        has_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        if self._device == "cuda" and not has_gpu:
            raise FeatureDisabled("device is cuda, but ONNX Runtime has no CUDA provider: install onnxruntime-gpu")
        common = {
            "engine": "onnxruntime",
            "engine_config": {"intra_op_num_threads": self._threads},
            "device": "gpu" if has_gpu and self._device != "cpu" else "cpu",
        }
        detection, recognition = self._folder / "det", self._folder / "rec"
        self._detector = TextDetection(
            model_name=_model_name(detection), model_dir=str(detection), **DETECTION, **common
        )
        self._recognizer = TextRecognition(model_name=_model_name(recognition), model_dir=str(recognition), **common)
        self._crop_by_polygons = CropByPolys(det_box_type="quad")
        if (orientation := self._folder / "doc_ori").is_dir():
            self._orientation = PageOrientation(orientation, _model_name(orientation), common)
        for model in (self._detector, self._recognizer):
            runner = model.paddlex_predictor.runner
            runner.session = HeedingSession(runner.session)

    def warm_up(self) -> None:
        """Reads a tiny made-up page."""
        import cv2

        page = np.full((64, 320, 3), 255, np.uint8)
        cv2.putText(page, "Warm 123", (20, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
        self.run_batch([PageImage(pixels=page)])

    def cost(self, item: PageImage) -> float:
        """Pixels that detection looks at: a huge page takes no longer than one of MAX_DETECTION_SIDE_PX."""
        height, width, _ = item.pixels.shape
        scale = min(1.0, MAX_DETECTION_SIDE_PX / max(height, width))
        return float(height * width * scale**2)

    def run_batch(self, items: Sequence[PageImage]) -> list[OcrPage | Exception]:
        """Reads the pages; see `Engine.run_batch`. `page_number` stays 0: an engine knows no document.

        Returns:
            Pages with their lines in reading order; JobCancelled for a page that was stopped.
        """
        turns: list[int | None] = [0] * len(items)
        try:
            crops: list[LineCrop] = []
            for index, item in enumerate(items):
                with suppress(Unwanted), _for(items, {index}):
                    image = _image(item.pixels)
                    turns[index] = self._turn(image) if item.find_turn else 0
                    crops += self._detect(index, image, turns[index] or 0)
            found = self._recognize(items, crops)
            again = self._recognize(items, [crop for lines in found for crop in turned_over(lines)])
        except Exception as error:
            if _out_of_memory(error):
                raise MemoryError(str(error)) from error
            raise
        return [
            JobCancelled("stopped before the page was read")
            if item.stopped()
            else _page(item, better_readings(first, second), turn)
            for item, first, second, turn in zip(items, found, again, turns, strict=True)
        ]

    def _turn(self, image: Pixels) -> int | None:
        return self._orientation.turn(image) if self._orientation else None

    def _detect(self, index: int, image: Pixels, turn: int) -> list[LineCrop]:
        """Cuts the lines out of a page that stands turned clockwise by so many degrees."""
        upright = np.ascontiguousarray(np.rot90(image, turn // 90))
        polygons = self._detector.predict([upright], batch_size=1, max_side_limit=MAX_DETECTION_SIDE_PX)[0]["dt_polys"]
        size = np.array([upright.shape[1], upright.shape[0]])
        crops = []
        for polygon, crop in zip(polygons, self._crop_by_polygons(upright, polygons), strict=True):
            if crop.size:
                shown = turned((along_text(polygon, crop) / size).ravel().tolist(), turn)
                crops.append(line_crop(index, np.array(shown).reshape(4, 2), crop))
        return crops

    def _recognize(self, items: Sequence[PageImage], crops: list[LineCrop]) -> list[list[FoundLine]]:
        found: list[list[FoundLine]] = [[] for _ in items]
        for planned in chunks_of_equal_width(crops):
            wanted = _wanted(items)
            chunk = [crop for crop in planned if crop.page in wanted]
            if not chunk:
                continue
            try:
                with _for(items, {crop.page for crop in chunk}):
                    results = self._recognizer.predict(
                        [crop.pixels for crop in chunk], batch_size=len(chunk), return_word_box=True
                    )
            except Unwanted:
                continue
            for crop, result in zip(chunk, results, strict=True):
                text, (_, _, columns, _) = result["rec_text"]
                found[crop.page].append(
                    FoundLine(
                        crop=crop,
                        text=text,
                        columns=[column for group in columns for column in group],
                        confidence=float(result["rec_score"]),
                    )
                )
        return found


def _wanted(items: Sequence[PageImage]) -> set[int]:
    """Gives the pages that somebody wants. All are asked, so that each is heard at every step."""
    return {index for index, item in enumerate(items) if not item.stopped()}


def _for(items: Sequence[PageImage], pages: set[int]) -> AbstractContextManager[None]:
    """What is computed inside the block is for these pages, and is left when nobody wants any of them.

    Raises:
        Unwanted: Nobody does.
    """
    return left_when(lambda: pages.isdisjoint(_wanted(items)))


def _image(pixels: Pixels) -> Pixels:
    """Gives a page as PaddleX wants it, BGR, no side longer than MAX_SIDE_PX."""
    import cv2

    height, width, _ = pixels.shape
    image = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    scale = min(1.0, MAX_SIDE_PX / max(height, width))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(image, dtype=np.uint8)


def _page(item: PageImage, found: list[FoundLine], turn: int | None) -> OcrPage:
    height, width, _ = item.pixels.shape
    kept = [line for line in found if line.text.strip() and line.confidence >= item.min_confidence]
    page_turn, lines_turn = directions(kept, turn, width_px=width, height_px=height) if item.find_turn else (0, 0)
    page = OcrPage(
        width_px=width,
        height_px=height,
        text_origin=TEXT_ORIGIN_RECOGNIZED,
        applied_rotation_degrees=-page_turn % 360,
    )
    write_lines(page, text_lines(kept, width_px=width, height_px=height, turn=lines_turn, words=item.words))
    return page


def _model_name(folder: Path) -> str:
    """Gives the name by which PaddleX knows the model; the rest of its configuration is long to parse."""
    found = re.search(r"^\s*model_name:\s*(\S+)", (folder / "inference.yml").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{folder}/inference.yml names no model")
    return found[1]


def _out_of_memory(error: Exception) -> bool:
    # ONNX Runtime and OpenCV have no exception of their own for it.
    text = str(error).lower()
    return any(sign in text for sign in ("failed to allocate", "bad_alloc", "out of memory", "insufficient memory"))
