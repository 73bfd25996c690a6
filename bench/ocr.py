"""What reading a page costs: PaddleOCR, RapidOCR and Tesseract page by page, and Triptych with 16 callers at once.

    python bench/ocr.py [FOLDER] [--pages 32] [--threads 2] [--profile] [--texts] [--json FILE]

The pages are those of FOLDER's manifest (default: the public set beside the repository) in even steps, of a PDF the
first one at 200 dpi; all get them as PNG files. All but Tesseract use the weights of pp-ocrv6-small in
TRIPTYCH_MODELS_DIR. Where a page's text is known, the mean F1 of its words is told.

CPU seconds count: loading is left out, child processes are counted in. Triptych is a real Redis, service and worker of
this run's own, with what it does by default: the turn of pages is found out, doubtful lines are read twice. Held to the
bounds is what its worker takes; what the service and Redis take is told too. PaddleOCR and RapidOCR run as they are
by default, without their classifiers of orientation. --profile tells instead what the steps of Triptych's engine take,
in one thread. RapidOCR comes with scripts/setup.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from accuracy_run.manifest import items
from accuracy_run.page_words import overlap
from cpu_seconds import Run, measured
from own_stack import own_stack
from PIL import Image
from proof import Proof, arguments

from triptych.core.settings import Settings
from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import CachePolicy, JobOptions
from triptych.v1.ocr_pb2 import OcrPage
from triptych.workers.engines import paddle_ocr, paddle_orientation
from triptych.workers.engines.network import Lanes
from triptych.workers.engines.ocr_runtime import OcrRuntime
from triptych.workers.engines.paddle_ocr import PaddleOcrEngine, PageImage
from triptych.workers.media.images import decode_image
from triptych.workers.media.page_limits import PageLimits
from triptych.workers.media.pages import open_pages

PUBLIC = Path(__file__).parents[2] / "shared" / "data" / "public"
CALLERS = 16
MODEL = "pp-ocrv6-small"
DPI, MAX_PAGE_PIXELS = 200, 100_000_000
MAX_SHARE, MAX_REST, MAX_MEMORY_MB = 0.70, 0.10, 1400
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)
# What Triptych is run with, and which of RapidOCR's runs computes alike.
RUNTIMES = {
    "Triptych, ONNX Runtime": ({"TRIPTYCH_OCR_RUNTIME": "onnxruntime"}, "RapidOCR, ONNX Runtime"),
    "Triptych, OpenVINO": ({"TRIPTYCH_OCR_RUNTIME": "openvino"}, "RapidOCR, OpenVINO"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page.

    Attributes:
        text: What stands on it; empty if that is not known.
    """

    id: str
    path: Path
    text: str
    language: str


def pages_of(folder: Path, count: int, into: Path) -> list[Page]:
    """Writes pages of a set as PNG files."""
    manifest = folder / "manifest.json"
    known = [
        item
        for modality in ("document_image", "pdf")
        for item in items(manifest, modality)
        if item.truth.get("text_file") and "password" not in item.id
    ]
    if len(known) < count:
        raise SystemExit(f"{manifest} has no {count} pages whose text is known")
    found = []
    for item in (known[n * len(known) // count] for n in range(count)):
        source = InputSource(display_name=item.path.name)
        with item.path.open("rb") as file, open_pages(file, source, PageLimits()) as document:
            pixels, _ = document.draw(1, dpi=DPI, check=lambda: None)
            whole = document.page_count == 1
        path = into / f"{item.id}.png"
        Image.fromarray(pixels).save(path, compress_level=1)
        text = (folder / item.truth["text_file"]).read_text("utf-8") if whole else ""
        found.append(Page(id=item.id, path=path, text=text, language=item.language))
    return found


def paddle_ocr_runs(folder: Path, paths: Sequence[Path], threads: int) -> dict[str, Run]:
    """Reads with PaddleOCR, in this process."""
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
    names = [str(path) for path in paths]

    def texts(results: Sequence[Any]) -> list[str]:
        return ["\n".join(result["rec_texts"]) for result in results]

    ocr.predict(names[0])
    return {
        "PaddleOCR page by page": measured(
            lambda: texts([result for name in names for result in ocr.predict(name)]), os.getpid()
        ),
        "PaddleOCR, the list": measured(lambda: texts(ocr.predict(names)), os.getpid()),
    }


def rapid_ocr_runs(folder: Path, paths: Sequence[Path], threads: int) -> dict[str, Run]:
    """Reads with RapidOCR, in this process."""
    try:
        from rapidocr import EngineType, RapidOCR
    except ImportError as error:
        raise SystemExit(f"RapidOCR cannot be compared: {error}; scripts/setup installs it") from error

    def run(engine: Any, options: Mapping[str, Any]) -> Run:
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
        ocr(str(paths[0]))
        return measured(lambda: ["\n".join(ocr(str(path)).txts or ()) for path in paths], os.getpid())

    return {
        "RapidOCR, ONNX Runtime": run(
            EngineType.ONNXRUNTIME, {"EngineConfig.onnxruntime.intra_op_num_threads": threads}
        ),
        "RapidOCR, OpenVINO": run(EngineType.OPENVINO, {"EngineConfig.openvino.inference_num_threads": threads}),
    }


def tesseract_run(paths: Sequence[Path]) -> dict[str, Run]:
    """Reads with Tesseract, in processes of its own, if it is installed."""
    program = shutil.which("tesseract")
    if program is None:
        print("Tesseract is not installed, so it is not compared", file=sys.stderr)
        return {}

    def text(path: Path) -> str:
        command = [program, str(path), "-", "--dpi", str(DPI)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return {"Tesseract": measured(lambda: [text(path) for path in paths], os.getpid())}


def peak_bytes(pid: int) -> int:
    """Gives the most memory that a process has held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def triptych_runs(
    proof: Proof, name: str, settings: Mapping[str, str], paths: Sequence[Path], threads: int
) -> dict[str, Run]:
    """Reads with Triptych: 16 callers at once, then one."""
    given = {"TRIPTYCH_OCR_MODEL": MODEL, "TRIPTYCH_DEVICE": "cpu", "TRIPTYCH_ENGINE_THREADS": str(threads), **settings}
    with own_stack("ocr", given) as stack, ThreadPoolExecutor(CALLERS) as callers:

        def text(path: Path) -> str:
            return stack.client.recognize(path, options=ANEW).pages[0].text

        text(paths[0])
        runs = {
            name: measured(lambda: list(callers.map(text, paths)), stack.worker.pid, stack.around),
            f"{name}, one caller": measured(lambda: [text(path) for path in paths], stack.worker.pid, stack.around),
        }
        proof.at_most(f"{name}: peak memory of the worker, MB", peak_bytes(stack.worker.pid) / 1e6, MAX_MEMORY_MB)
        return runs


def f1_of(texts: Sequence[str], pages: Sequence[Page]) -> float:
    """Mean F1 of the words of the pages whose text is known."""
    found = [overlap(page.text, text, page.language).f1 for page, text in zip(pages, texts, strict=True) if page.text]
    return sum(found) / len(found)


def tell(proof: Proof, runs: Mapping[str, Run], pages: Sequence[Page]) -> None:
    """Says what was found, and holds it to the bounds."""
    for name, run in runs.items():
        proof.found(f"{name}: CPU s a page", run.cpu_s / len(pages))
        if run.around_s:
            proof.found(f"{name}: CPU s a page of service and Redis", run.around_s / len(pages))
        proof.found(f"{name}: wall s a page", run.wall_s / len(pages))
        proof.found(f"{name}: F1 of words", f1_of(run.texts, pages))
    base = runs["PaddleOCR page by page"].cpu_s
    for name, (_, other) in RUNTIMES.items():
        proof.at_most(f"{name} / PaddleOCR page by page", runs[name].cpu_s / base, MAX_SHARE)
        proof.at_most(f"{name} / {other}", runs[name].cpu_s / runs[other].cpu_s, 1)
        differ = sum(one != two for one, two in zip(runs[name].texts, runs[f"{name}, one caller"].texts, strict=True))
        proof.at_most(f"{name}: pages that differ from one caller's", differ, 0)


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


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=PUBLIC)
    parser.add_argument("--pages", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2, help="of an engine")
    parser.add_argument("--profile", action="store_true", help="tell what the steps of the engine take")
    parser.add_argument("--texts", action="store_true", help="print how pages that differ are read")
    given = parser.parse_args()
    proof, folder = Proof(), Settings().models_dir / MODEL
    with tempfile.TemporaryDirectory(prefix="pages-") as into:
        pages = pages_of(given.folder, given.pages, Path(into))
        paths = [page.path for page in pages]
        proof.found("pages", len(pages))
        if given.profile:
            profile(proof, folder, paths)
            return proof.conclude(given.json)
        runs = paddle_ocr_runs(folder, paths, given.threads)
        for name, (settings, _) in RUNTIMES.items():
            runs |= triptych_runs(proof, name, settings, paths, given.threads)
        runs |= rapid_ocr_runs(folder, paths, given.threads)
        runs |= tesseract_run(paths)
    if given.texts:
        by_text: dict[str, list[str]] = defaultdict(list)
        for number, page in enumerate(pages):
            by_text.clear()
            for name in runs:
                by_text[runs[name].texts[number]].append(name)
            print(page.id, *(f"{', '.join(names)}:\n{text}" for text, names in by_text.items()), sep="\n\n")
    tell(proof, runs, pages)
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
