"""Questions over a PDF of 300 pages, some of them scans, through real workers: what the first costs, and the second.

    python bench/long_answer.py [--pages 300] [--scans 60]

Pages with a text of their own, from all PDFs of --pdfs, and images of --images without any, spread over them, make one
document. `triptych up` with the weights of TRIPTYCH_MODELS_DIR answers a question about one page, so that its workers
are warm. Then the pages that are images alone are recognized, past the cache; then a question about the document is
asked for the first time, another one after it, and that one once more. Each is timed from the call. An answer must be
found on the page where it stands (--question and --another come with words of that page), and no prompt may be longer
than --max-prompt-tokens. Exit code 1 if a bound is not held.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
from long_pdf import IMAGES, write_pdf
from proof import Proof
from watched_worker import cpu_s, stack

from triptych.client import Client
from triptych.v1.common_pb2 import InputSource, PageRange
from triptych.v1.job_pb2 import CachePolicy, JobOptions
from triptych.v1.ocr_pb2 import OcrConfig
from triptych.v1.reasoning_pb2 import AnswerStatus, ReasoningResult

PDFS = IMAGES.parent / "pdfs"
MAX_FIRST, MAX_AGAIN_S = 3.0, 2.0
TIMEOUT_S = 3600
PAST_THE_CACHE = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question and what it took.

    Attributes:
        elapsed_s: From the call to the result.
        model_s: Of it, in the answering model's jobs, queueing included.
        result: What came.
    """

    elapsed_s: float
    model_s: float
    result: ReasoningResult

    @property
    def own_s(self) -> float:
        """What it took beside the model."""
        return self.elapsed_s - self.model_s


def write_document(
    pdfs: Sequence[Path], images: Sequence[Path], page_count: int, scan_count: int, target: Path
) -> None:
    """Writes pages of the PDFs, short ones first, with as many scans as wanted spread over them.

    Raises:
        SystemExit: There are not so many pages with text.
    """
    scans = target.with_name("scans.pdf")
    write_pdf(images, scan_count, scans)
    found = sorted((pages for pages in map(_with_text, pdfs) if pages), key=lambda pages: len(pages[1]))
    texts = [(document, number) for document, numbers in found for number in numbers][: page_count - scan_count]
    if len(texts) < page_count - scan_count:
        sys.exit(f"only {len(texts)} pages of the PDFs have text, {page_count - scan_count} are wanted")
    with pypdfium2.PdfDocument(scans) as images_alone, pypdfium2.PdfDocument.new() as joined:
        taken = 0
        for place in range(page_count):
            if (place + 1) * scan_count // page_count > taken:
                joined.import_pages(images_alone, pages=[taken])
                taken += 1
            else:
                document, number = texts[place - taken]
                joined.import_pages(document, pages=[number])
        joined.save(target)


def _with_text(path: Path) -> tuple[pypdfium2.PdfDocument, list[int]] | None:
    try:
        document = pypdfium2.PdfDocument(path)
        texts = [page.get_textpage().get_text_range() for page in document]
    except pypdfium2.PdfiumError:  # damaged, or encrypted
        return None
    return document, [number for number, text in enumerate(texts) if len(text.split()) >= 10]


def image_pages(document: Path) -> list[PageRange]:
    """Gives the pages that have no text of their own."""
    with pypdfium2.PdfDocument(document) as pages:
        bare = [n for n, page in enumerate(pages, 1) if not page.get_textpage().get_text_range().strip()]
    return [PageRange(first_page=number, last_page=number) for number in bare]


def ask(client: Client, question: str, document: InputSource) -> Asked:
    """Asks one question and prints what came."""
    began = time.monotonic()
    result = client.answer(question, [document], timeout_s=TIMEOUT_S)
    elapsed_s = time.monotonic() - began
    model_s = sum(stage.elapsed.ToNanoseconds() / 1e9 for stage in result.stages if stage.stage == "answer")
    pages = sorted({evidence.page.page_number for evidence in result.evidence if evidence.HasField("page")})
    print(f"{question} -> {result.answer.text!r} on page {pages}")
    for stage in result.stages:
        cached = ", known" if stage.cached else ""
        print(f"    {stage.stage}: {stage.elapsed.ToNanoseconds() / 1e9:.2f} s{cached}")
    print(f"    all of it: {elapsed_s:.2f} s", flush=True)
    return Asked(elapsed_s=elapsed_s, model_s=model_s, result=result)


def right(asked: Asked, words: str) -> bool:
    """Whether an answer has the words, and they were found on a page."""
    anchored = any(evidence.HasField("page") for evidence in asked.result.evidence)
    said = re.sub(r"\W+", " ", asked.result.answer.text).casefold()
    return asked.result.answer.status == AnswerStatus.ANSWER_STATUS_ANSWERED and anchored and words.casefold() in said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pdfs", type=Path, default=PDFS, help="folder of PDFs")
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder of images")
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--scans", type=int, default=60, help="of them, pages that are images alone")
    parser.add_argument("--question", nargs=2, default=("In which year was the typewriter patented?", "1868"))
    parser.add_argument("--another", nargs=2, default=("How many laptops were delivered?", "200"))
    parser.add_argument("--max-prompt-tokens", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    proof = Proof()
    with tempfile.TemporaryDirectory(prefix="long-answer-") as folder:
        document = Path(folder) / "document.pdf"
        pdfs, images = sorted(given.pdfs.glob("*.pdf")), sorted(given.images.glob("*.*"))
        warm = Path(folder) / "warm.pdf"
        write_pdf(images, 1, warm)
        write_document(pdfs, images, given.pages, given.scans, document)
        with stack(Path(folder) / "state", "ocr") as (target, pid), Client(target) as client:
            client.answer("What is this?", [warm], timeout_s=TIMEOUT_S)
            (source,) = client.sources([document])
            before_s, began = cpu_s(pid), time.monotonic()
            # With words, as the question will have them.
            alone = client.recognize(
                source, OcrConfig(enable_words=True), pages=image_pages(document), options=PAST_THE_CACHE,
                timeout_s=TIMEOUT_S,
            )  # fmt: skip
            alone_s, alone_cpu_s = time.monotonic() - began, cpu_s(pid) - before_s
            print(f"{len(alone.pages)} image-only pages: {alone_s:.2f} s", flush=True)
            first = ask(client, given.question[0], source)
            first_cpu_s = cpu_s(pid) - before_s - alone_cpu_s
            another = ask(client, given.another[0], source)
            same = ask(client, given.another[0], source)
    asked = (first, another, same)
    proof.found("pages that are images alone, s", alone_s)
    proof.found("of the OCR worker, CPU s", alone_cpu_s)
    proof.found("first answer, s", first.elapsed_s)
    proof.found("of the OCR worker for it, CPU s", first_cpu_s)
    proof.found("model's part of it, s", first.model_s)
    proof.found("another question, s", another.elapsed_s)
    proof.found("the same question, s", same.elapsed_s)
    proof.found("load of the machine", os.getloadavg()[1])
    proof.at_least("pages of the document", min(one.result.documents[0].page_count for one in asked), given.pages)
    prompt_tokens = max(one.result.usage.input_token_count for one in asked)
    proof.at_most("longest prompt, tokens", prompt_tokens, given.max_prompt_tokens)
    wanted = (given.question[1], given.another[1], given.another[1])
    proof.at_least("right answers with their place", sum(map(right, asked, wanted)), len(asked))
    proof.at_most("first answer, as a part of recognizing the images", first.elapsed_s / alone_s, MAX_FIRST)
    proof.at_most("another question without the model, s", another.own_s, MAX_AGAIN_S)
    proof.at_most("the same question without the model, s", same.own_s, MAX_AGAIN_S)
    code = proof.conclude(given.json)
    print(
        f"images {alone_s:.1f} s first {first.elapsed_s:.1f} s ({first.elapsed_s / alone_s:.2f} times) "
        f"again {another.own_s:.2f} s + model {another.model_s:.2f} s "
        f"same {same.own_s:.2f} s + model {same.model_s:.2f} s"
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
