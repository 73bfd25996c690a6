"""A PDF of 300 scanned pages through a real worker: how soon its first page is there, and how much memory that takes.

    python bench/long_pdf.py [IMAGES...] [--pages 300]

The images (those of ../shared/data/public, or those given) become the pages of a PDF without text, again and again.
`triptych up` with the weights of TRIPTYCH_MODELS_DIR reads one page, so that the worker is warm, then the PDF, by
StreamRecognize. Memory is the most that the worker and its child processes held at one moment, shared pages counted
once; it is flat if the last third of the run holds a tenth more than the first at most. The first page is timed from
the call, in seconds and, for machines that have other work, in CPU seconds of the worker.
Exit code 1 if memory or time is over its bound, a page is missing, or pages come in another order.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
import pypdfium2
from PIL import Image, ImageOps
from proof import Proof
from watched_worker import Memory, cpu_s, stack

from triptych.client import Client
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import CachePolicy, JobOptions
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.v1.ocr_service_pb2 import StreamRecognizeRequest
from triptych.v1.ocr_service_pb2_grpc import OcrServiceStub

IMAGES = Path(__file__).parents[2] / "shared" / "data" / "public" / "images"
MAX_MEMORY_BYTES, MAX_FIRST_S, MAX_GROWTH = 1.5e9, 3.0, 1.1
# A4 at 200 dpi: what a scanner gives, and what pages are drawn at.
DPI, MAX_SIDE_PX = 200, 2339
TIMEOUT_S = 3600
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)


def write_pdf(images: Sequence[Path], page_count: int, target: Path) -> None:
    """Writes a PDF whose pages are the images, one after the other, again and again."""
    once = io.BytesIO()
    first, *rest = [_page(path) for path in images[:page_count]]
    first.save(once, "PDF", resolution=DPI, save_all=True, append_images=rest)
    with pypdfium2.PdfDocument(once.getvalue()) as few, pypdfium2.PdfDocument.new() as many:
        for start in range(0, page_count, len(few)):
            many.import_pages(few, pages=list(range(min(len(few), page_count - start))))
        many.save(target)


def _page(path: Path) -> Image.Image:
    with Image.open(path) as image:
        page = ImageOps.exif_transpose(image).convert("RGB")
    page.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    return page


def read(source: InputSource, target: str, pid: int, proof: Proof) -> tuple[list[int], float]:
    """Takes note of what the job gives; returns the pages in the order told, and seconds until the first."""
    request = StreamRecognizeRequest(spec=OcrSpec(input=source), options=ANEW)
    numbers: list[int] = []
    errors, words, first_s = 0, 0, 0.0
    with grpc.insecure_channel(target) as channel:
        before_s, began = cpu_s(pid), time.monotonic()
        for response in OcrServiceStub(channel).StreamRecognize(request, timeout=TIMEOUT_S):
            if not response.event.HasField("ocr_page"):
                continue
            page = response.event.ocr_page
            if not first_s:
                first_s = time.monotonic() - began
                proof.found("first page after, CPU s", cpu_s(pid) - before_s)
            numbers.append(page.page_number)
            errors += page.HasField("error")
            words += len(page.text.split())
    proof.found("all of it after, s", time.monotonic() - began)
    proof.found("worker and children, CPU s a page", (cpu_s(pid) - before_s) / max(1, len(numbers)))
    proof.found("words", words)
    proof.at_most("pages with an error", errors, 0)
    return numbers, first_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="*", default=sorted(IMAGES.glob("*.*")))
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    proof = Proof()
    with tempfile.TemporaryDirectory(prefix="long-pdf-") as folder:
        document, warm = Path(folder) / "scans.pdf", Path(folder) / "warm.pdf"
        write_pdf(given.images, given.pages, document)
        write_pdf(given.images, 1, warm)
        proof.found("PDF, MB", document.stat().st_size / 1e6)
        with stack(Path(folder) / "state", "ocr") as (target, pid), Client(target) as client:
            client.recognize(warm, options=ANEW)
            (source,) = client.sources([document])
            with Memory(pid) as memory:
                numbers, first_s = read(source, target, pid, proof)
    proof.at_least("pages told", len(numbers), given.pages)
    proof.at_most("pages out of order", sum(number != place for place, number in enumerate(numbers, 1)), 0)
    proof.found("load of the machine", os.getloadavg()[1])
    proof.found("worker and children before, MB", memory.before_bytes / 1e6)
    proof.at_most("worker and children at their peak, MB", memory.peak_bytes / 1e6, MAX_MEMORY_BYTES / 1e6)
    proof.at_most("held in the last third, as a part of the first", memory.growth(), MAX_GROWTH)
    proof.at_most("first page after, s", first_s, MAX_FIRST_S)
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
