"""F1 of the words that are read on pages, and likeness of the tables."""

import argparse
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from accuracy_run.manifest import Item, items
from accuracy_run.page_words import Overlap, overlap
from accuracy_run.service import service
from accuracy_run.table_cells import Likeness, likeness, rows
from PIL import Image, ImageOps

from triptych.client import Client
from triptych.core.errors import TriptychError
from triptych.v1.job_pb2 import CachePolicy, JobOptions
from triptych.v1.ocr_pb2 import OcrConfig, OcrMode, OcrResult

IMAGE, PDF = "document_image", "pdf"
# What is measured is what the engine reads, not what somebody read before.
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)
# A manifest's word for several languages: no hint.
MANY_LANGUAGES = "mul"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What came of one file.

    Attributes:
        language: As the manifest says, or "-".
        condition: What is hard about it, or "-".
        text: Its pages; empty if the job failed.
        overlap: With what stands on it.
        turns: Degrees by which its pages were turned before they were read.
        failure: Why it failed, or empty.
    """

    id: str
    language: str
    condition: str
    text: str
    overlap: Overlap
    turns: tuple[int, ...] = ()
    failure: str = ""

    def line(self) -> str:
        """Gives it in one line."""
        found = self.overlap
        figures = f"F1 {found.f1:.3f}  recall {found.recall:.3f}  precision {found.precision:.3f}"
        turned = f"  turned by {', '.join(map(str, self.turns))}" if any(self.turns) else ""
        return f"{self.id}  {self.language}  {figures}{turned}  {self.failure or self.condition}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What came of the tables of one file.

    Attributes:
        rows: Of each table found, as texts.
        likeness: With those that stand in it.
        failure: Why the job failed, or empty.
    """

    id: str
    rows: list[list[list[str]]]
    likeness: Likeness
    failure: str = ""

    def line(self) -> str:
        """Gives it in one line."""
        figures = f"adjacency {self.likeness.adjacency_f1:.3f}  cells {self.likeness.cell_recall:.3f}"
        return f"{self.id}  tables {len(self.rows)}  {figures}  {self.failure}"


def judged(item: Item, text: str, turns: Sequence[int] = (), failure: str = "") -> Read:
    """Compares a text with what the manifest says; of several that are right, with the one that fits best."""
    right = [item.true_text() or "", *item.alternatives]
    best = max((overlap(true, text, item.language or "en") for true in right), key=lambda found: found.f1)
    return Read(
        id=item.id, language=item.language or "-", condition=item.condition or "-", text=text, overlap=best,
        turns=tuple(turns), failure=failure,
    )  # fmt: skip


def last_line(found: Sequence[Read]) -> str:
    """Gives the figures as programs read them."""
    return f"F1 {_mean(one.overlap.f1 for one in found):.3f} pages {len(found)}"


def table(found: Sequence[Read]) -> str:
    """Gives the figures by language, then by condition."""
    lines = ["| | files | F1 | recall | precision |", "|---|---|---|---|---|"]
    for attribute in ("language", "condition"):
        groups: dict[str, list[Overlap]] = defaultdict(list)
        for one in found:
            groups[getattr(one, attribute)].append(one.overlap)
        for name, group in sorted(groups.items()):
            means = (_mean(getattr(one, figure) for one in group) for figure in ("f1", "recall", "precision"))
            lines.append(f"| {attribute} {name} | {len(group)} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what only this kind has."""
    parser.add_argument("--modality", choices=(IMAGE, PDF), default=IMAGE, help="which files' words are scored")
    parser.add_argument("--turned", type=int, choices=(0, 90, 180, 270), default=0, help="turn images clockwise first")
    parser.add_argument("--hint", action="store_true", help="name each file's language, of which models refuse some")
    parser.add_argument("--no-tables", action="store_true", help="do not score tables")
    parser.add_argument("--table-predictions", type=Path, help="file for the tables' rows, as JSON by id")
    parser.add_argument("--min-f1", type=float, help="exit with 1 if it is lower (rounded to a thousandth)")


def run(given: argparse.Namespace) -> int:
    """Measures, and prints what was found; gives the exit code."""
    wanted = [item for item in items(given.manifest, IMAGE, PDF) if item.id.startswith(given.only)]
    texts = [item for item in wanted if item.modality == given.modality and item.true_text() is not None]
    tables = [item for item in wanted if item.truth.get("tables") and not given.no_tables]
    with service(given.target, given.api_key, "ocr") as client, ThreadPoolExecutor(given.callers) as pool:
        found = list(pool.map(lambda item: _read(client, item, given), texts))
        found_tables = list(pool.map(lambda item: _read_tables(client, item, given), tables))
    if given.predictions:
        _write(given.predictions, {one.id: one.text for one in found})
    if given.table_predictions:
        _write(given.table_predictions, {one.id: one.rows for one in found_tables})
    if given.per_item:
        for one in (*found, *found_tables):
            print(one.line())
    print(table(found))
    if found_tables:
        adjacency = _mean(one.likeness.adjacency_f1 for one in found_tables)
        cells = _mean(one.likeness.cell_recall for one in found_tables)
        print(f"tables of {len(found_tables)} files: adjacency {adjacency:.3f} cells {cells:.3f}")
    failed = [one for one in (*found, *found_tables) if one.failure]
    for one in failed:
        print(f"{one.id} failed: {one.failure}")
    print(last_line(found))
    low = given.min_f1 is not None and not round(_mean(one.overlap.f1 for one in found), 3) >= given.min_f1
    return int(bool(failed) or low)


def _read(client: Client, item: Item, given: argparse.Namespace) -> Read:
    source = _turned(item.path, given.turned) if given.turned and item.modality == IMAGE else item.path
    try:
        result = client.recognize(source, _config(item, given), options=ANEW)
    except TriptychError as error:
        return judged(item, "", failure=f"{error.reason}: {error.message}")
    turns = [page.applied_rotation_degrees for page in result.pages]
    return judged(item, "\n".join(page.text for page in result.pages), turns, _page_failure(result))


def _read_tables(client: Client, item: Item, given: argparse.Namespace) -> Tables:
    config = _config(item, given)
    config.mode = OcrMode.OCR_MODE_LAYOUT
    true = [told["rows"] for told in item.truth["tables"]]
    try:
        result = client.recognize(item.path, config, options=ANEW)
    except TriptychError as error:
        failure = f"{error.reason}: {error.message}"
        return Tables(id=item.id, rows=[], likeness=likeness(true, []), failure=failure)
    found = [rows(table) for page in result.pages for table in page.tables]
    return Tables(id=item.id, rows=found, likeness=likeness(true, found), failure=_page_failure(result))


def _config(item: Item, given: argparse.Namespace) -> OcrConfig:
    told = bool(item.language) and item.language != MANY_LANGUAGES and given.hint
    return OcrConfig(model=given.model, language_codes=[item.language] if told else [])


def _page_failure(result: OcrResult) -> str:
    failed = [f"page {page.page_number}: {page.error.message}" for page in result.pages if page.HasField("error")]
    return "; ".join(failed)


def _turned(path: Path, degrees: int) -> bytes:
    """Gives the image as a PNG file, turned clockwise."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    file = io.BytesIO()
    upright.rotate(-degrees, expand=True).save(file, "PNG")
    return file.getvalue()


def _mean(figures: Iterable[float]) -> float:
    values = list(figures)
    return sum(values) / len(values) if values else float("nan")


def _write(path: Path, told: object) -> None:
    path.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
