"""Reads pages with PP-OCR; the text lines of all pages of a batch are recognized together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from triptych.core.errors import JobCancelled, LanguageUnsupported
from triptych.core.page_turns import turned
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import TEXT_ORIGIN_RECOGNIZED, OcrPage
from triptych.workers.engines.base import Engine
from triptych.workers.engines.ocr_runtime import OcrRuntime
from triptych.workers.engines.paddle_crops import (
    LineCrop,
    along_text,
    chunks_of_equal_width,
    cut_out,
    line_crop,
)
from triptych.workers.engines.paddle_detection import detection_input, detection_size, text_boxes
from triptych.workers.engines.paddle_lines import FoundLine, text_lines
from triptych.workers.engines.paddle_model import PaddleModel
from triptych.workers.engines.paddle_orientation import PageOrientation, better_readings, directions, turned_over
from triptych.workers.engines.paddle_recognition import decoded, likeliest, recognition_input
from triptych.workers.media.reading_order import write_lines

Pixels = npt.NDArray[np.uint8]

# Boxes come as 16-bit integers: a longer side would overflow.
MAX_SIDE_PX = 32_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageImage:
    """One page to read.

    Attributes:
        pixels: Shape (height, width, 3), RGB.
        words: Whether lines get their words.
        min_confidence: Lines below it are dropped.
        languages: BCP-47 tags of what is written there, as far as somebody said; a page in others is not read.
        find_turn: Whether the way the page is turned is found out, and the page read upright.
        stopped: Whether nobody wants the page any more; asked between steps, so cheap.
    """

    pixels: Pixels
    words: bool = False
    min_confidence: float = 0.0
    languages: tuple[str, ...] = ()
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
            `inference.yml` and `inference.onnx`, or a network in PaddlePaddle's format.
        model: Named in results.
        runtime: Runs the networks.
        check_languages: Raises LanguageUnsupported for BCP-47 tags that the model does not know.
    """

    def __init__(
        self,
        folder: Path,
        model: ModelRef,
        runtime: OcrRuntime,
        *,
        check_languages: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> None:
        self.model = model
        self._folder = folder
        self._runtime = runtime
        self._check_languages = check_languages

    def load(self) -> None:
        """Reads the models: about half a second.

        Raises:
            ModelNotFound: The folder holds no such model.
            FeatureDisabled: What runs it is not installed.
        """
        self._detection = PaddleModel.read(self._folder / "det")
        self._recognition = PaddleModel.read(self._folder / "rec")
        # A page takes much memory, so one at a time is looked at; lines are many and small.
        self._detector = self._runtime.load(self._detection.folder)
        self._recognizer = self._runtime.load_recognizer(self._recognition.folder)
        orientation = self._folder / "doc_ori"
        self._orientation = PageOrientation(orientation, self._runtime) if orientation.is_dir() else None

    def unload(self) -> None:
        """Ends the threads."""
        for lanes in (getattr(self, "_detector", None), getattr(self, "_recognizer", None)):
            if lanes:
                lanes.close()

    def warm_up(self) -> None:
        """Reads a tiny made-up page."""
        import cv2

        page = np.full((64, 320, 3), 255, np.uint8)
        cv2.putText(page, "Warm 123", (20, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
        self.run_batch([PageImage(pixels=page)])

    def cost(self, item: PageImage) -> float:
        """Pixels that detection looks at, which are bounded."""
        height, width, _ = item.pixels.shape
        looked_at = detection_size(width, height)
        return float(looked_at[0] * looked_at[1])

    def run_batch(self, items: Sequence[PageImage]) -> list[OcrPage | Exception]:
        """Reads the pages; see `Engine.run_batch`. `page_number` stays 0: an engine knows no document.

        Returns:
            Pages with their lines in reading order; JobCancelled for a page that was stopped, LanguageUnsupported for
            one in a language that the model does not know.
        """
        refused = [self._refusal(item) for item in items]
        pages = iter(self._read([item for item, error in zip(items, refused, strict=True) if error is None]))
        return [next(pages) if error is None else error for error in refused]

    def _refusal(self, item: PageImage) -> LanguageUnsupported | None:
        try:
            self._check_languages(item.languages)
        except LanguageUnsupported as error:
            return error
        return None

    def _read(self, items: Sequence[PageImage]) -> list[OcrPage | Exception]:
        turns: dict[int, int | None] = {}
        try:
            crops = self._detect(items, turns)
            found = self._recognize(items, crops)
            again = self._recognize(items, [crop for lines in found for crop in turned_over(lines)])
            self._recognizer.release()
        except Exception as error:
            if _out_of_memory(error):
                raise MemoryError(str(error)) from error
            raise
        return [
            JobCancelled("stopped before the page was read")
            if item.stopped()
            else _page(item, better_readings(first, second), turns[index])
            for index, (item, first, second) in enumerate(zip(items, found, again, strict=True))
        ]

    def _detect(self, items: Sequence[PageImage], turns: dict[int, int | None]) -> list[LineCrop]:
        """Cuts the lines out of the pages; `turns` gets the degrees clockwise by which each page stands turned."""

        def sheets() -> Iterator[_Sheet]:
            for index, item in enumerate(items):
                if index in _wanted(items):
                    image = _image(item.pixels)
                    turns[index] = turn = self._turn(image) if item.find_turn else 0
                    upright = np.ascontiguousarray(np.rot90(image, (turn or 0) // 90))
                    yield _Sheet(page=index, upright=upright, turn=turn or 0)

        runs = self._detector.run(
            sheets(),
            values=lambda sheet: detection_input(sheet.upright, self._detection.normalization),
            result=np.copy,
            unwanted=lambda sheet: sheet.page not in _wanted(items),
        )
        crops = [
            crop
            for sheet, probabilities in runs
            for crop in _line_crops(sheet, text_boxes(probabilities, sheet.upright.shape[1], sheet.upright.shape[0]))
        ]
        self._detector.release()
        return crops

    def _turn(self, image: Pixels) -> int | None:
        return self._orientation.turn(image) if self._orientation else None

    def _recognize(self, items: Sequence[PageImage], crops: list[LineCrop]) -> list[list[FoundLine]]:
        found: list[list[FoundLine]] = [[] for _ in items]

        def chunks() -> Iterator[list[LineCrop]]:
            for planned in chunks_of_equal_width(crops, self._runtime.max_run_width_px):
                wanted = _wanted(items)
                if chunk := [crop for crop in planned if crop.page in wanted]:
                    yield chunk

        runs = self._recognizer.run(
            chunks(),
            values=lambda chunk: recognition_input(
                [crop.pixels for crop in chunk], [crop.text_width_px for crop in chunk]
            ),
            result=likeliest,
            unwanted=lambda chunk: _wanted(items).isdisjoint(crop.page for crop in chunk),
        )
        for chunk, classes in runs:
            for crop, (text, columns, confidence) in zip(
                chunk, decoded(classes, self._recognition.characters), strict=True
            ):
                found[crop.page].append(FoundLine(crop=crop, text=text, columns=columns, confidence=confidence))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """A page that is turned upright."""

    page: int
    upright: Pixels
    turn: int


def _line_crops(sheet: _Sheet, polygons: npt.NDArray[np.int16]) -> Iterator[LineCrop]:
    size = np.array([sheet.upright.shape[1], sheet.upright.shape[0]])
    for polygon in polygons:
        crop = cut_out(sheet.upright, polygon)
        if crop.size:
            shown = turned((along_text(polygon, crop) / size).ravel().tolist(), sheet.turn)
            yield line_crop(sheet.page, np.array(shown).reshape(4, 2), crop)


def _wanted(items: Sequence[PageImage]) -> set[int]:
    """Gives the pages that somebody wants. All are asked, so that each is heard at every step."""
    return {index for index, item in enumerate(items) if not item.stopped()}


def _image(pixels: Pixels) -> Pixels:
    """Gives a page as PP-OCR was trained on them: BGR, no side longer than MAX_SIDE_PX."""
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
    kept = [line.with_blanks() for line in found if line.text.strip() and line.confidence >= item.min_confidence]
    page_turn, lines_turn = directions(kept, turn, width_px=width, height_px=height) if item.find_turn else (0, 0)
    page = OcrPage(
        width_px=width,
        height_px=height,
        text_origin=TEXT_ORIGIN_RECOGNIZED,
        applied_rotation_degrees=-page_turn % 360,
    )
    write_lines(page, text_lines(kept, width_px=width, height_px=height, turn=lines_turn, words=item.words))
    return page


def _out_of_memory(error: Exception) -> bool:
    # ONNX Runtime and OpenCV have no exception of their own for it.
    text = str(error).lower()
    return any(sign in text for sign in ("failed to allocate", "bad_alloc", "out of memory", "insufficient memory"))
