"""Chooses the passages of the documents that fit the prompt and matter to the question."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from triptych.workers.reasoning.headings import headings
from triptych.workers.reasoning.layout import Row, rows
from triptych.workers.reasoning.ranking import bm25, text_terms
from triptych.workers.reasoning.readings import Reading

PASSAGE_TOKENS = 120
# Longer rows head nothing: the names of fifty columns would take the place of what was asked for.
HEADING_TOKENS = 60
# So many of the best passages bring the ones before and behind them along.
WITH_NEIGHBOURS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Some rows of one reading that stand together.

    Attributes:
        reading: Index of the reading.
        document_id: Of the reading.
        text: What a prompt shows of it.
        lines: Indices of the reading's lines in it.
        tokens: Estimated length in tokens.
        terms: What it is searched by, of `text_terms`.
        headings: Earlier rows that it is read under; a prompt without them shows them before it.
    """

    reading: int
    document_id: str
    text: str
    lines: frozenset[int]
    tokens: int
    terms: Mapping[str, int]
    headings: tuple[Row, ...] = ()


def count_tokens(text: str) -> int:
    """Estimates the tokens of a text, on the safe side: four letters, or one digit or sign, each."""
    return sum(
        math.ceil(len(run) / 4) if run.isascii() else len(run) for run in re.findall(r"[^\W\d_]+|\d|[^\w\s]|_", text)
    )


def passages(readings: Sequence[Reading]) -> list[Passage]:
    """Cuts readings into passages of about `PASSAGE_TOKENS`, at the widest gaps between rows, in document order."""
    return [replace(passage, reading=index) for index, reading in enumerate(readings) for passage in reading.once(_cut)]


def select(found: Sequence[Passage], question: str, max_tokens: int) -> list[Passage]:
    """Gives the passages for a prompt of `max_tokens`, in document order: all if they fit, else the best ranked.

    The best ones bring their neighbours, over the end of a page too. Where a passage comes without the rows that it is
    read under, they are put before it.
    """
    if sum(passage.tokens for passage in found) <= max_tokens:
        return list(found)
    scores = rank(found, question)
    chosen: set[int] = set()
    left = max_tokens

    def take(index: int) -> None:
        nonlocal left
        cost = found[index].tokens + sum(count_tokens(row.text) for row in found[index].headings)
        if index not in chosen and cost <= left:
            chosen.add(index)
            left -= cost

    for place, best in enumerate(sorted(range(len(found)), key=lambda i: -scores[i])):
        take(best)
        if place < WITH_NEIGHBOURS and best in chosen:
            for beside in (best + 1, best - 1):
                if 0 <= beside < len(found) and found[beside].document_id == found[best].document_id:
                    take(beside)
    return _under_headings([found[index] for index in sorted(chosen)])


def rank(found: Sequence[Passage], question: str) -> list[float]:
    """Scores every passage against the question by BM25, a neighbour's score counting a little.

    The neighbour stands for what a cut at the wrong row would lose: the value under its heading.
    """
    scores = bm25([passage.terms for passage in found], question)
    return [
        score + 0.15 * max((scores[n] for n in (i - 1, i + 1) if _neighbours(found, i, n)), default=0.0)
        for i, score in enumerate(scores)
    ]


def _neighbours(found: Sequence[Passage], one: int, other: int) -> bool:
    return 0 <= other < len(found) and found[one].reading == found[other].reading


def _under_headings(chosen: Sequence[Passage]) -> list[Passage]:
    """Puts before each passage those of its headings that do not stand before it already."""
    shown: defaultdict[int, frozenset[int]] = defaultdict(frozenset)
    found: list[Passage] = []
    for passage in chosen:
        missing = [row for row in passage.headings if not shown[passage.reading].issuperset(row.lines)]
        lines = passage.lines.union(*(row.lines for row in missing))
        shown[passage.reading] |= lines
        text = "\n".join([*(row.text for row in missing), passage.text])
        tokens = passage.tokens + sum(count_tokens(row.text) for row in missing)
        found.append(replace(passage, text=text, lines=lines, tokens=tokens) if missing else passage)
    return found


def _cut(reading: Reading) -> list[Passage]:
    """Gives the passages of one reading, as if it were the only one."""
    page = rows(reading)
    above = headings(page)
    long = {index for index, row in enumerate(page) if count_tokens(row.text) > HEADING_TOKENS}
    heights = sorted(row.bottom - row.top for row in page)
    height = heights[len(heights) // 2] if heights else 0.0
    cut: list[Passage] = []
    block: list[Row] = []
    tokens = first = 0

    def end() -> None:
        cut.append(_passage(reading, block, tokens, tuple(page[index] for index in above[first] if index not in long)))

    for index, row in ((index, piece) for index, whole in enumerate(page) for piece in _pieces(whole)):
        size = count_tokens(row.text)
        gap = row.top - block[-1].bottom if block else 0.0
        if block and (tokens + size > PASSAGE_TOKENS or (tokens > PASSAGE_TOKENS / 2 and gap > height)):
            end()
            block, tokens = [], 0
        if not block:
            first = index
        block.append(row)
        tokens += size
    if block:
        end()
    return cut


def _pieces(row: Row) -> list[Row]:
    """Cuts a row that alone is longer than a passage (a segment of a transcript) between words."""
    count = math.ceil(count_tokens(row.text) / PASSAGE_TOKENS)
    if count <= 1:
        return [row]
    words = row.text.split(" ")
    # Scripts without blanks are cut anywhere.
    glue, parts = (" ", words) if len(words) > 2 * count else ("", list(row.text))
    step = math.ceil(len(parts) / count)
    return [
        Row(text=glue.join(parts[i : i + step]), lines=row.lines, top=row.top, bottom=row.bottom)
        for i in range(0, len(parts), step)
    ]


def _passage(reading: Reading, block: Sequence[Row], tokens: int, above: tuple[Row, ...]) -> Passage:
    text = "\n".join(row.text for row in block)
    return Passage(
        reading=0,
        document_id=reading.document_id,
        text=text,
        lines=frozenset(line for row in block for line in row.lines),
        tokens=tokens,
        terms=text_terms(text),
        headings=above,
    )
