"""What the steps of Triptych's OCR engine take, in one thread."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from proof import Proof

from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import OcrPage
from triptych.workers.engines import paddle_ocr, paddle_orientation
from triptych.workers.engines.network import Lanes
from triptych.workers.engines.ocr_runtime import OcrRuntime
from triptych.workers.engines.paddle_ocr import PaddleOcrEngine, PageImage
from triptych.workers.media.images import decode_image

MAX_REST = 0.10
MAX_PAGE_PIXELS = 100_000_000
STEPS = {
    "page as BGR": (paddle_ocr, "_image"),
    "turn of the page (with its network)": (paddle_orientation.PageOrientation, "turn"),
    "input of detection": (paddle_ocr, "detection_input"),
    "boxes": (paddle_ocr, "text_boxes"),
    "cutting lines out": (paddle_ocr, "cut_out"),
    "scaling lines": (paddle_ocr, "line_crop"),
    "input of recognition": (paddle_ocr, "recognition_input"),
    "likeliest classes": (paddle_ocr, "likeliest"),
    "characters": (paddle_ocr, "decoded"),
    "lines and words": (paddle_ocr, "text_lines"),
}


def profile(proof: Proof, folder: Path, paths: Sequence[Path]) -> None:
    """Tells what the steps take, as shares of the bare networks' time, and holds the rest to its bound."""
    engine = PaddleOcrEngine(folder, ModelRef(), OcrRuntime(device="cpu", threads=1))
    engine.load()
    engine.warm_up()
    spent: Counter[str] = Counter()

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def run(*given: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*given, **options)
            finally:
                spent[name] += time.thread_time() - began

        return run

    def bare(lanes: Lanes, name: str) -> Callable[..., Any]:
        begin = lanes._network.begin

        def watched(values: Any) -> Any:
            run = begin(values)
            session = run._session
            run._session = argparse.Namespace(run=timed(name, session.run))
            return run

        return watched

    with ExitStack() as after:
        for name, lanes in (("detection", engine._detector), ("recognition", engine._recognizer)):
            after.enter_context(patch.object(lanes._network, "begin", bare(lanes, name)))
        for name, (owner, function) in STEPS.items():
            after.enter_context(patch.object(owner, function, timed(name, getattr(owner, function))))
        whole = 0.0
        for path in paths:
            pixels = decode_image(path.read_bytes(), max_page_pixels=MAX_PAGE_PIXELS)
            began = time.process_time()
            [page] = engine.run_batch([PageImage(pixels=pixels)])
            whole += time.process_time() - began
            assert isinstance(page, OcrPage)
    network = spent["detection"] + spent["recognition"]
    for name in ("detection", "recognition"):
        proof.found(f"bare network, {name}: CPU s a page", spent.pop(name) / len(paths))
    for name, seconds in spent.most_common():
        proof.found(f"{name}: share of the bare networks", seconds / network)
    proof.at_most("all but the bare networks: share of them", whole / network - 1, MAX_REST)
