"""Searchable PDFs of real scans: is every word found again, and is it where its ink is?

    python bench/searchable.py [DATA] [--target HOST:PORT] [--only PREFIX] [--per-item] [--json FILE]

DATA (default ../shared/data) has `public/manifest.json`. Every image of a document, and the first pages of every PDF
without text of its own, go through a running service (--target), or through one that is started with one OCR worker and
the weights of TRIPTYCH_MODELS_DIR. Of what was read a searchable PDF is made, and `pdftotext` (poppler-utils) reads it.

A word is found if the text that `pdftotext` writes has it, as often as it was recognized on the page. Overlap is
intersection over union: of its box there (`-bbox`) with the box that was recognized, and, of level words, with the ink:
the strokes whose middle lies in the box, however far they reach. Exit code 1 if a bound is broken.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import numpy.typing as npt
import pypdfium2
from accuracy_run.service import service
from proof import Proof, arguments

from triptych.client import Client, specs
from triptych.core.errors import TriptychError
from triptych.core.line_words import words_of
from triptych.core.page_geometry import Corners, turn_degrees
from triptych.services.searchable.visual_order import clusters, visual
from triptych.v1.common_pb2 import PageRange
from triptych.v1.job_pb2 import JobOptions
from triptych.v1.ocr_pb2 import OcrConfig, OcrPage, TextOrigin
from triptych.v1.ocr_service_pb2 import PagesFormat

MIN_FOUND, MIN_OVERLAP, MIN_INK_OVERLAP = 0.95, 0.9, 0.5
# Pages of a PDF that are read.
MAX_PAGES = 3
LEVEL_DEGREES = 2
Box = tuple[float, float, float, float]


@dataclass
class Found:
    """What became of the words of some pages."""

    words: int = 0
    found: int = 0
    overlaps: list[float] = field(default_factory=list)
    ink_overlaps: list[float] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Adds those of other pages."""
        self.words += other.words
        self.found += other.found
        self.overlaps += other.overlaps
        self.ink_overlaps += other.ink_overlaps


@dataclass(frozen=True)
class Word:
    """A word on a page.

    Attributes:
        text: As it is read.
        seen: Its letters from left to right, as `pdftotext -bbox` tells them.
        box: In shares of the page.
        level: Whether it runs from left to right, and hardly askew.
        parts: Characters of scripts without blanks are words of the engine, but none to pdftotext.
    """

    text: str
    seen: str
    box: Box
    level: bool = True
    parts: int = 1


@dataclass
class PageText:
    """What pdftotext finds on a page: its text, and words with boxes."""

    text: str
    words: Sequence[Word]

    def __post_init__(self) -> None:
        self._left = Counter(self.text.split())
        self._run = "".join(self.text.split())

    def has(self, word: Word) -> bool:
        """Whether the word is in the text once more."""
        # A hyphen at the end of a line it takes for one that divides a word, and leaves it out.
        for text in (word.text, word.text.removesuffix("-")):
            if self._left[text]:
                self._left[text] -= 1
                return True
        return word.parts > 1 and word.text in self._run

    def box_of(self, word: Word) -> Box:
        """Gives the box of the word of this text that is nearest; of its pieces, if it is in several."""
        whole = [each.box for each in self.words if each.seen == word.seen]
        if best := max(whole, key=lambda each: overlap(each, word.box), default=None):
            return best
        pieces = [each.box for each in self.words if within(each.box, word.box)]
        return around([corner for each in pieces for corner in (each[:2], each[2:])]) if pieces else (0, 0, 0, 0)


def recognized(page: OcrPage) -> Iterator[Word]:
    """Yields what stands between blanks: characters of scripts without blanks are no words to pdftotext."""
    for line in page.lines:
        group: list[Any] = []
        for word in words_of(line):
            group.append(word)
            if not word.spaced:
                continue
            yield joined(group, page)
            group = []
        if group:
            yield joined(group, page)


def joined(words: Sequence[Any], page: OcrPage) -> Word:
    box = around([corner for word in words for corner in word.corners])
    one, two, three, four = ((x * page.width_px, y * page.height_px) for x, y in words[0].corners)
    turned: Corners = (one, two, three, four)
    text = "".join(letter for word in words for letter in clusters(word.text))
    seen = "".join(letter for word in words for letter in visual(word.text))
    return Word(text, seen, box, abs(turn_degrees(turned)) < LEVEL_DEGREES, len(words))


def around(corners: Sequence[tuple[float, float]]) -> Box:
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def read_back(path: Path, sizes: Iterable[tuple[float, float]]) -> list[PageText]:
    """Gives what pdftotext finds, by page; the size that it tells of a page is that before /Rotate."""
    pages = []
    document = ET.fromstring(pdftotext(path, "-bbox"))
    elements = document.iter("{http://www.w3.org/1999/xhtml}page")
    for (width, height), page, text in zip(sizes, elements, pdftotext(path).split("\f"), strict=False):
        words = []
        for word in page:
            left, top, right, bottom = (float(word.attrib[name]) for name in ("xMin", "yMin", "xMax", "yMax"))
            box = (left / width, top / height, right / width, bottom / height)
            words.append(Word(word.text or "", word.text or "", box))
        pages.append(PageText(text, words))
    return pages


def pdftotext(path: Path, *options: str) -> str:
    told = subprocess.run(["pdftotext", "-cropbox", *options, str(path), "-"], capture_output=True, check=True)
    # Marks of direction are pdftotext's own; controls that it passes on are none that XML has.
    no_text = dict.fromkeys([*range(9), 11, *range(14, 32), *range(0x202A, 0x202F), 0x200E, 0x200F])
    return told.stdout.decode("utf-8", "replace").translate(no_text)


def compare(page: OcrPage, there: PageText, ink: npt.NDArray[np.uint8]) -> Found:
    found = Found()
    for word in recognized(page):
        found.words += 1
        if not there.has(word):
            continue
        box = there.box_of(word)
        found.found += 1
        found.overlaps.append(overlap(box, word.box))
        if word.level and (strokes := ink_box(ink, box)):
            found.ink_overlaps.append(overlap(box, strokes))
    return found


def within(inner: Box, outer: Box) -> bool:
    middle = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= middle[0] <= outer[2] and outer[1] <= middle[1] <= outer[3]


def overlap(one: Box, other: Box) -> float:
    """Gives intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - both
    return both / union if union else 0.0


def ink_box(grey: npt.NDArray[np.uint8], box: Box) -> Box | None:
    """Gives the box around the strokes whose middle lies in a box; None if there are none."""
    height, width = grey.shape
    left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    margin = (bottom - top) / 2
    x, y = max(0, int(left - margin)), max(0, int(top - margin))
    part = grey[y : int(bottom + margin) + 1, x : int(right + margin) + 1]
    if min(part.shape) < 4:
        return None
    _, dark = cv2.threshold(part, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    if dark.mean() > 127:
        dark = 255 - dark  # light on dark
    _, _, stats, middles = cv2.connectedComponentsWithStats(dark)
    strokes = [
        (x + sx, y + sy, x + sx + sw, y + sy + sh)
        for (sx, sy, sw, sh, area), (mx, my) in list(zip(stats, middles, strict=True))[1:]
        # Rules and frames are no strokes, specks are no ink.
        if area >= 4 and left <= x + mx <= right and top <= y + my <= bottom and sw < 3 * (right - left)
    ]
    if not strokes:
        return None
    found = around([corner for stroke in strokes for corner in (stroke[:2], stroke[2:])])
    return found[0] / width, found[1] / height, found[2] / width, found[3] / height


def check(client: Client, path: Path, folder: Path) -> Found | None:
    """Reads a document, makes its searchable PDF and reads that; None if no page of it was recognized."""
    (source,) = client.sources([path])
    ranges = [PageRange(first_page=1, last_page=page_count(path))] if path.suffix == ".pdf" else []
    job = client.submit(specs.ocr(source, OcrConfig(enable_words=True), ranges), JobOptions())
    result = client.result(client.wait_job(job.name)).ocr
    pages = [page for page in result.pages if page.text_origin == TextOrigin.TEXT_ORIGIN_RECOGNIZED and page.lines]
    if not pages:
        return None
    made = folder / "made.pdf"
    made.write_bytes(client.format_pages(job.name, PagesFormat.PAGES_FORMAT_SEARCHABLE_PDF))
    found = Found()
    with pypdfium2.PdfDocument(made) as document:
        there = read_back(made, [document[number].get_size() for number in range(len(document))])
        for page in pages:
            shown = document[page.page_number - 1]
            drawn = shown.render(scale=page.width_px / shown.get_width(), grayscale=True).to_numpy()
            found.add(compare(page, there[page.page_number - 1], drawn.reshape(drawn.shape[:2])))
    return found


def page_count(path: Path) -> int:
    with pypdfium2.PdfDocument(path) as document:
        return min(MAX_PAGES, len(document))


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--target", default="", help="address of the service")
    parser.add_argument("--api-key", default="", help="key of the caller")
    parser.add_argument("--only", default="", help="items whose id begins so")
    parser.add_argument("--per-item", action="store_true", help="a line per item")
    given = parser.parse_args()
    public = given.data / "public"
    items = [
        item for item in json.loads((public / "manifest.json").read_text("utf-8"))["items"]
        if item["modality"] in ("document_image", "pdf") and item.get("expect", "ok") == "ok"
        and item["id"].startswith(given.only)
    ]  # fmt: skip
    all_found, documents = Found(), 0
    with service(given.target, given.api_key, "ocr") as client, tempfile.TemporaryDirectory() as folder:
        for item in items:
            try:
                found = check(client, public / item["file"], Path(folder))
            except (TriptychError, pypdfium2.PdfiumError) as error:
                print(f"{item['id']}: {error}", file=sys.stderr)
                continue
            if found is None:
                continue
            documents += 1
            all_found.add(found)
            if given.per_item:
                boxes = statistics.fmean(found.overlaps or [0])
                print(f"{item['id']}: {found.found} of {found.words} words, overlap {boxes:.3f}", flush=True)
    proof = Proof()
    proof.found("documents", documents)
    proof.found("words recognized", all_found.words)
    proof.at_least("found by pdftotext, share", all_found.found / max(1, all_found.words), MIN_FOUND)
    overlaps, ink = sorted(all_found.overlaps), sorted(all_found.ink_overlaps)
    proof.at_least("overlap with what was recognized, mean", statistics.fmean(overlaps or [0]), MIN_OVERLAP)
    proof.found("overlap with what was recognized, first percentile", overlaps[len(overlaps) // 100] if overlaps else 0)
    proof.found("level words with ink", len(ink))
    proof.at_least("overlap with the ink, median", statistics.median(ink or [0]), MIN_INK_OVERLAP)
    proof.found("words that touch their ink, share", sum(each > 0 for each in ink) / max(1, len(ink)))
    return proof.conclude(given.json)


if __name__ == "__main__":
    sys.exit(main())
