"""CPU seconds per page: the engine page by page, the engine with pages pooled, and PaddleOCR's own pipeline.

    python bench/ocr.py MODELS_DIR IMAGE...

The texts of the first two must be equal; how many lines the pipeline reads alike is told.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import OcrPage
from triptych.workers.engines.paddle_ocr import DETECTION, PaddleOcrEngine, PageImage, Pixels
from triptych.workers.media.images import decode_image


def timed(read: Callable[[], list[list[str]]]) -> tuple[list[list[str]], float]:
    began = time.process_time()
    texts = read()
    return texts, time.process_time() - began


def pipeline(folder: Path, pages: list[Pixels], threads: int) -> Callable[[], list[list[str]]]:
    from paddleocr import PaddleOCR

    ocr = PaddleOCR(
        text_detection_model_name="PP-OCRv6_small_det",
        text_detection_model_dir=str(folder / "det"),
        text_recognition_model_name="PP-OCRv6_small_rec",
        text_recognition_model_dir=str(folder / "rec"),
        use_doc_orientation_classify=False,
        use_doc_unwarping=False,
        use_textline_orientation=False,
        engine="onnxruntime",
        engine_config={"intra_op_num_threads": threads},
        device="cpu",
        **{f"text_det_{name}": value for name, value in DETECTION.items()},
    )
    return lambda: [ocr.predict(page[:, :, ::-1].copy())[0]["rec_texts"] for page in pages]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    folder = given.models_dir / "pp-ocrv6-small"
    pages = [decode_image(path.read_bytes(), max_page_pixels=100_000_000) for path in given.images]
    began = time.perf_counter()
    engine = PaddleOcrEngine(folder, ModelRef(), device="cpu", threads=given.threads)
    engine.load()
    engine.warm_up()
    loaded_s = time.perf_counter() - began

    def read(*batches: list[Pixels]) -> list[list[str]]:
        found = [engine.run_batch([PageImage(pixels=page) for page in batch]) for batch in batches]
        return [[line.text for line in page.lines] for batch in found for page in batch if isinstance(page, OcrPage)]

    read(*([page] for page in pages))  # memory is had, caches are warm
    alone, alone_s = timed(lambda: read(*([page] for page in pages)))
    pooled, pooled_s = timed(lambda: read(pages))
    theirs, theirs_s = timed(pipeline(folder, pages, given.threads))
    same = sum(len(set(ours) & set(other)) for ours, other in zip(alone, theirs, strict=True))
    print(
        json.dumps(
            {
                "pages": len(pages),
                "load_s": round(loaded_s, 1),
                "alone_cpu_s_per_page": round(alone_s / len(pages), 2),
                "pooled_cpu_s_per_page": round(pooled_s / len(pages), 2),
                "pipeline_cpu_s_per_page": round(theirs_s / len(pages), 2),
                "pooled_texts_equal": pooled == alone,
                "lines_as_pipeline": f"{same} of {sum(len(set(lines)) for lines in theirs)}",
            }
        )
    )


if __name__ == "__main__":
    main()
