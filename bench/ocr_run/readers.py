"""What reads pages: PaddleOCR, RapidOCR, Tesseract and Triptych, each with what its reading costs."""

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from cpu_seconds import Run, measured
from ocr_run.page_files import DPI
from own_stack import own_stack
from proof import Proof

from triptych.v1.job_pb2 import CachePolicy, JobOptions

CALLERS = 16
MODEL = "pp-ocrv6-small"
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)
ONE_CALLER = ", one caller"

Reader: TypeAlias = Callable[[Sequence[Path]], Run]
"""Reads pages; gives a text for each."""


def paddle_ocr(folder: Path, threads: int) -> dict[str, Reader]:
    """PaddleOCR, in this process."""
    os.environ["PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK"] = "True"
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
    )

    def texts(results: Sequence[Any]) -> list[str]:
        return ["\n".join(result["rec_texts"]) for result in results]

    return {
        "PaddleOCR page by page": lambda paths: measured(
            lambda: texts([result for path in paths for result in ocr.predict(str(path))]), os.getpid()
        ),
        "PaddleOCR, the list": lambda paths: measured(
            lambda: texts(ocr.predict([str(path) for path in paths])), os.getpid()
        ),
    }


def rapid_ocr(folder: Path, threads: int) -> dict[str, Reader]:
    """RapidOCR, in this process."""
    try:
        from rapidocr import EngineType, RapidOCR
    except ImportError as error:
        raise SystemExit(f"RapidOCR cannot be compared: {error}; scripts/setup installs it") from error

    def reader(engine: Any, options: Mapping[str, Any]) -> Reader:
        ocr = RapidOCR(
            params={
                "Global.use_cls": False,
                "Global.log_level": "error",
                "Det.engine_type": engine,
                "Det.model_path": str(folder / "det" / "inference.onnx"),
                "Rec.engine_type": engine,
                "Rec.model_path": str(folder / "rec" / "inference.onnx"),
                **options,
            }
        )
        return lambda paths: measured(lambda: ["\n".join(ocr(str(path)).txts or ()) for path in paths], os.getpid())

    return {
        "RapidOCR, ONNX Runtime": reader(
            EngineType.ONNXRUNTIME, {"EngineConfig.onnxruntime.intra_op_num_threads": threads}
        ),
        "RapidOCR, OpenVINO": reader(EngineType.OPENVINO, {"EngineConfig.openvino.inference_num_threads": threads}),
    }


def tesseract() -> dict[str, Reader]:
    """Tesseract, in processes of its own, if it is installed."""
    program = shutil.which("tesseract")
    if program is None:
        print("Tesseract is not installed, so it is not compared", file=sys.stderr)
        return {}

    def text(path: Path) -> str:
        command = [program, str(path), "-", "--dpi", str(DPI)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return {"Tesseract": lambda paths: measured(lambda: [text(path) for path in paths], os.getpid())}


@contextmanager
def triptych(
    proof: Proof, name: str, settings: Mapping[str, str], threads: int, max_memory_mb: float
) -> Iterator[dict[str, Reader]]:
    """Triptych, with 16 callers at once and with one; at the end its worker's memory is held to a bound."""
    given = {"TRIPTYCH_OCR_MODEL": MODEL, "TRIPTYCH_DEVICE": "cpu", "TRIPTYCH_ENGINE_THREADS": str(threads), **settings}
    given["TRIPTYCH_METRICS_LISTEN"] = "127.0.0.1:0"
    with own_stack("ocr", given) as stack, ThreadPoolExecutor(CALLERS) as callers:

        def text(path: Path) -> str:
            return stack.client.recognize(path, options=ANEW).pages[0].text

        def run(work: Callable[[], Sequence[str]]) -> Run:
            return measured(work, stack.worker.pid, stack.around)

        yield {
            name: lambda paths: run(lambda: list(callers.map(text, paths))),
            name + ONE_CALLER: lambda paths: run(lambda: [text(path) for path in paths]),
        }
        proof.at_most(
            f"{name}: peak memory of the worker, MB",
            _most_bytes(stack.worker.until_ready()["metrics"]) / 1e6,
            max_memory_mb,
        )


def _most_bytes(metrics: str) -> float:
    """Gives the most that the worker held; the kernel's own mark is reset at each batch."""
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("triptych_most_resident_bytes "))
