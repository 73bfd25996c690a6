"""What reading a page costs: PaddleOCR, RapidOCR and Tesseract page by page, and Triptych with 16 callers at once.

    python bench/ocr.py [FOLDER] [--pages 32] [--threads 2] [--profile] [--texts] [--json FILE]

The pages are those of FOLDER's manifest (default: the public set beside the repository) in even steps, of a PDF the
first one at 200 dpi; all get them as PNG files. All but Tesseract use the weights of pp-ocrv6-small in
TRIPTYCH_MODELS_DIR. Where a page's text is known, the mean F1 of its words is told.

CPU seconds count: loading is left out, child processes are counted in. Triptych is a real Redis, service and worker of
this run's own, with what it does by default: the turn of pages is found out, doubtful lines are read twice, and lines
are recognized in bfloat16 where the CPU computes in it; and once more on each runtime alone. Held to the bounds is what
its worker takes; what the service and Redis take is told too. PaddleOCR and RapidOCR run as they are by default,
without their classifiers of orientation. --profile tells instead what the steps of Triptych's engine take, in float32,
in one thread.

What else a machine does changes CPU seconds, so all read 16 pages, then the next 16 in the opposite order. RapidOCR
comes with scripts/setup.
"""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from accuracy_run.page_words import overlap
from cpu_seconds import Run
from ocr_run.page_files import Page, pages_of
from ocr_run.readers import CALLERS, MODEL, ONE_CALLER, Reader, paddle_ocr, rapid_ocr, tesseract, triptych
from ocr_run.steps import profile
from proof import Proof, arguments

from triptych.core.settings import Settings

PUBLIC = Path(__file__).parents[2] / "shared" / "data" / "public"
MAX_SHARE = 0.70
DEFAULT = "Triptych"
# What Triptych is run with, which of RapidOCR's runs computes alike, and the bound of memory. OpenVINO keeps weights
# packed for every size of input.
RUNTIMES = {
    DEFAULT: ({}, "", 1600),
    "Triptych, ONNX Runtime": ({"TRIPTYCH_OCR_RUNTIME": "onnxruntime"}, "RapidOCR, ONNX Runtime", 1400),
    "Triptych, OpenVINO": ({"TRIPTYCH_OCR_RUNTIME": "openvino"}, "RapidOCR, OpenVINO", 1500),
}


def compared(proof: Proof, folder: Path, pages: Sequence[Page], threads: int) -> dict[str, Run]:
    """Has every reader read the pages."""
    with ExitStack() as after:
        readers: dict[str, Reader] = paddle_ocr(folder, threads)
        for name, (settings, _, max_memory_mb) in RUNTIMES.items():
            readers |= after.enter_context(triptych(proof, name, settings, threads, max_memory_mb))
        readers |= rapid_ocr(folder, threads) | tesseract()
        paths = [page.path for page in pages]
        for read in readers.values():
            read(paths[:1])  # loaded, memory is had
        runs: dict[str, Run] = {}
        order = list(readers.items())
        for start in range(0, len(paths), CALLERS):
            for name, read in order:
                run = read(paths[start : start + CALLERS])
                runs[name] = runs[name] + run if name in runs else run
            order.reverse()
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
    proof.at_most(f"{DEFAULT} / PaddleOCR page by page", runs[DEFAULT].cpu_s / base, MAX_SHARE)
    for name, (_, other, _) in RUNTIMES.items():
        if other:
            proof.found(f"{name} / PaddleOCR page by page", runs[name].cpu_s / base)
            proof.at_most(f"{name} / {other}", runs[name].cpu_s / runs[other].cpu_s, 1)
        differ = sum(one != two for one, two in zip(runs[name].texts, runs[name + ONE_CALLER].texts, strict=True))
        proof.at_most(f"{name}: pages that differ from one caller's", differ, 0)


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
        proof.found("pages", len(pages))
        if given.profile:
            profile(proof, folder, [page.path for page in pages])
            return proof.conclude(given.json)
        runs = compared(proof, folder, pages, given.threads)
    if given.texts:
        for number, page in enumerate(pages):
            by_text: dict[str, list[str]] = defaultdict(list)
            for name in runs:
                by_text[runs[name].texts[number]].append(name)
            print(page.id, *(f"{', '.join(names)}:\n{text}" for text, names in by_text.items()), sep="\n\n")
    tell(proof, runs, pages)
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
