"""Collects the lines of a document, each with the part of the document that it is."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from triptych.core.errors import InputTooLarge

# Some 2,000 pages, as many as a PDF may have.
MAX_CHARS = 4_000_000
CELL_GAP, HEAD_GAP = " | ", ": "
# Where the heads of a table's columns are looked for.
_LOOK_AT_ROWS = 30
_HEAD_IN_ROWS = 10
_VALUES_SHARE = 0.8
_PERIOD = re.compile(r"(FY|Q[1-4]|H[12])?\s?((19|20)\d\d)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table, and its name for people."""

    text: str
    part: str


class Lines:
    """The lines so far.

    Attributes:
        spans: Span in the text of every line.
        parts: From where on in the text which part it is.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.parts: list[tuple[int, str]] = []
        self._texts: list[str] = []
        self._length = 0

    @property
    def text(self) -> str:
        """All lines, with line feeds between."""
        return "\n".join(self._texts)

    def add(self, text: str, part: str) -> bool:
        """Adds a line, in which white space is single blanks; gives whether there was anything in it."""
        return self._add([(text, part, False)])

    def table(self, rows: Iterable[Sequence[Cell]], *, has_head: bool | None = None) -> None:
        """Adds a line for each row; where the columns have heads, every cell has its head before it: "Price: 12".

        Args:
            rows: Cells by column; those that are empty count as columns, too.
            has_head: Whether the first row has the heads; None: it is looked for.
        """
        rows = iter(rows)
        first = list(itertools.islice(rows, _LOOK_AT_ROWS))
        head_at = (0 if has_head else None) if has_head is not None else _head_at(first)
        for number, row in enumerate(itertools.chain(first, rows)):
            heads = first[head_at] if head_at is not None and number > head_at else ()
            self._add(_pieces(row, heads))

    def _add(self, pieces: Iterable[tuple[str, str, bool]]) -> bool:
        """Adds a line of pieces (text, part, whether it is the head of the next one)."""
        start = self._length
        texts: list[str] = []
        gap = ""
        for text, part, is_head in pieces:
            # Half a surrogate pair, as badly encoded headers give, is no text.
            told = " ".join(text.encode("utf-8", "replace").decode().split())
            if not told:
                continue
            # A gap counts as of the cell behind it, but nobody points at it alone.
            self.parts.append((self._length, part))
            texts.append(f"{gap}{told}")
            self._length += len(texts[-1])
            gap = HEAD_GAP if is_head else CELL_GAP
        if not texts:
            return False
        self._texts.append("".join(texts))
        self.spans.append((start, self._length))
        self._length += 1
        if self._length > MAX_CHARS:
            raise InputTooLarge(f"its text is longer than {MAX_CHARS} characters", limit=MAX_CHARS, value=self._length)
        return True


def _pieces(row: Sequence[Cell], heads: Sequence[Cell]) -> Iterator[tuple[str, str, bool]]:
    for column, cell in enumerate(row):
        if cell.text.strip():
            head = heads[column] if column < len(heads) else None
            if head is not None and head.text.strip():
                yield head.text.strip().rstrip(" :"), head.part, True
            yield cell.text, cell.part, False


def _head_at(rows: Sequence[Sequence[Cell]]) -> int | None:
    """Gives the index of the row that names the columns: words, under which some column has mostly numbers."""
    for index, row in enumerate(rows[:_HEAD_IN_ROWS]):
        named = [column for column, cell in enumerate(row) if cell.text.strip()]
        below = rows[index + 1 :]
        if len(named) < 2:
            continue
        if len(below) < 2 or not all(_is_name(row[column].text) for column in named):
            return None
        if any(_has_values(below, column) for column in named[1:]):
            return index
        return None
    return None


def _is_name(text: str) -> bool:
    return not any(sign.isdigit() for sign in text) or _PERIOD.fullmatch(text.strip()) is not None


def _has_values(rows: Sequence[Sequence[Cell]], column: int) -> bool:
    texts = [row[column].text for row in rows if column < len(row) and row[column].text.strip()]
    values = sum(any(sign.isdigit() for sign in text) for text in texts)
    return len(texts) >= 2 and values >= _VALUES_SHARE * len(texts)
