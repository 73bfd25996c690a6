"""Chooses the passages of the documents that fit the prompt and matter to the question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from triptych.workers.reasoning.layout import Row, rows
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.terms import content_terms

PASSAGE_TOKENS = 120
# Okapi BM25's usual constants (Robertson and Zaragoza, 2009).
K1, B = 1.2, 0.75
# A question for an amount or a date prefers passages that have one, whatever the words.
_ASKS_AMOUNT = re.compile(
    r"\b(how much|amount|total|sum|price|cost|charges?|balance|tax|fee|paid|betrag|prix)\b", re.IGNORECASE
)
_ASKS_DATE = re.compile(r"\b(when|date|day|year|month|deadline|due|wann|datum|quand)\b", re.IGNORECASE)
_AMOUNT = re.compile(r"[$€£¥₹]\s?\d|\d[.,]\d\d\b")
_DATE = re.compile(r"\b(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|(19|20)\d\d)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Some rows of one reading that stand together.

    Attributes:
        reading: Index of the reading.
        text: What a prompt shows of it.
        lines: Indices of the reading's lines in it.
        tokens: Estimated length in tokens.
    """

    reading: int
    text: str
    lines: frozenset[int]
    tokens: int


def count_tokens(text: str) -> int:
    """Estimates the tokens of a text, on the safe side: four letters, or one digit or sign, each."""
    return sum(
        math.ceil(len(run) / 4) if run.isascii() else len(run) for run in re.findall(r"[^\W\d_]+|\d|[^\w\s]|_", text)
    )


def passages(readings: Sequence[Reading]) -> list[Passage]:
    """Cuts readings into passages of about `PASSAGE_TOKENS`, at the widest gaps between rows, in document order."""
    return [passage for index, reading in enumerate(readings) for passage in _cut(index, rows(reading))]


def select(found: Sequence[Passage], question: str, max_tokens: int) -> list[Passage]:
    """Gives the passages for a prompt of `max_tokens`, in document order: all if they fit, else the best ranked."""
    if sum(passage.tokens for passage in found) <= max_tokens:
        return list(found)
    scores = rank(found, question)
    chosen: set[int] = set()
    left = max_tokens
    for index in sorted(range(len(found)), key=lambda i: -scores[i]):
        if found[index].tokens <= left:
            chosen.add(index)
            left -= found[index].tokens
    return [found[index] for index in sorted(chosen)]


def rank(found: Sequence[Passage], question: str) -> list[float]:
    """Scores every passage against the question by BM25, a neighbour's score counting a little.

    The neighbour stands for what a cut at the wrong row would lose: the value under its heading.
    """
    wanted = _search_terms(question, _ASKS_AMOUNT.search(question), _ASKS_DATE.search(question))
    bags = [_search_terms(p.text, _AMOUNT.search(p.text), _DATE.search(p.text)) for p in found]
    lengths = [sum(bag.values()) for bag in bags]
    mean_length = max(1.0, sum(lengths) / max(1, len(bags)))
    holders = Counter(term for bag in bags for term in bag)
    scores = []
    for bag, length in zip(bags, lengths, strict=True):
        score = 0.0
        for term in wanted:
            idf = math.log(1 + (len(bags) - holders[term] + 0.5) / (holders[term] + 0.5))
            score += idf * bag[term] * (K1 + 1) / (bag[term] + K1 * (1 - B + B * length / mean_length))
        scores.append(score)
    return [
        score + 0.15 * max((scores[n] for n in (i - 1, i + 1) if _neighbours(found, i, n)), default=0.0)
        for i, score in enumerate(scores)
    ]


def _neighbours(found: Sequence[Passage], one: int, other: int) -> bool:
    return 0 <= other < len(found) and found[one].reading == found[other].reading


def _search_terms(text: str, amount: object, date: object) -> Counter[str]:
    bag = Counter(term.stem for term in content_terms(text))
    if amount:
        bag["<amount>"] = 1
    if date:
        bag["<date>"] = 1
    return bag


def _cut(reading: int, lines: Sequence[Row]) -> list[Passage]:
    heights = sorted(row.bottom - row.top for row in lines)
    height = heights[len(heights) // 2] if heights else 0.0
    cut: list[Passage] = []
    block: list[Row] = []
    tokens = 0
    for row in (piece for line in lines for piece in _pieces(line)):
        size = count_tokens(row.text)
        gap = row.top - block[-1].bottom if block else 0.0
        if block and (tokens + size > PASSAGE_TOKENS or (tokens > PASSAGE_TOKENS / 2 and gap > height)):
            cut.append(_passage(reading, block, tokens))
            block, tokens = [], 0
        block.append(row)
        tokens += size
    return [*cut, _passage(reading, block, tokens)] if block else cut


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


def _passage(reading: int, block: Sequence[Row], tokens: int) -> Passage:
    return Passage(
        reading=reading,
        text="\n".join(row.text for row in block),
        lines=frozenset(line for row in block for line in row.lines),
        tokens=tokens,
    )
