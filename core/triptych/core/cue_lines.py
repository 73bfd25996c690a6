"""Breaks pieces of text into lines of about the same length."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from triptych.core.pieces import CLAUSE, Piece

Line = tuple[int, int]
"""Index of the first piece, and of the first one that is no part of it."""
# What a break behind punctuation is worth, and one behind a short word costs, in parts of a line's length.
_CLAUSE_WORTH, _LEANING_COST = 0.15, 0.1


class PieceRow:
    """Pieces one behind the other, to be broken into lines.

    Args:
        pieces: What is written.
        line_length: Most columns of a line; a piece that is longer has a line of its own.
        line_count: Most lines.
        indent: Columns of the first line that are taken.
    """

    def __init__(self, pieces: Sequence[Piece], line_length: int, line_count: int, *, indent: int = 0) -> None:
        self._pieces = pieces
        self._line_length = line_length
        self._line_count = line_count
        self._indent = indent
        # Columns of all that stands before a piece, the blank before it left out.
        self._before = list(accumulate((piece.width + piece.spaced for piece in pieces), initial=0))

    def width(self, start: int, end: int) -> int:
        """Gives the columns of pieces in one line."""
        return self._before[end] - self._before[start] - self._pieces[start].spaced

    def around(self, start: int, end: int, wanted: float, reach: int) -> range:
        """Gives where pieces can be parted about so many columns behind the start: at least at one place."""
        at = self._before[start] + wanted
        low = min(max(start + 1, bisect_left(self._before, at - reach, start, end)), end - 1)
        return range(low, max(low + 1, bisect_right(self._before, at + reach, start, end)))

    def fits(self, start: int, end: int) -> bool:
        """Whether pieces need no more lines than allowed."""
        # Most of what does not fit is far too long; filling lines is for the rest.
        if self.width(start, end) > (self._line_length + 1) * self._line_count and end - start > self._line_count:
            return False
        return len(self._filled(start, end)) <= self._line_count

    def lines(self, start: int, end: int) -> list[str]:
        """Gives the text of pieces in as few lines as can be, of about the same length."""
        found: list[str] = []
        latest = self._latest(start, end)
        while start < end:
            stop = self._line_end(start, end, latest, indent=0 if found else self._indent)
            found.append(self._text(start, stop))
            start = stop
            latest.pop()
        return found

    def _filled(self, start: int, end: int) -> list[Line]:
        """Gives the lines with each as full as can be."""
        lines, first, indent = [], start, self._indent
        for at in range(start + 1, end + 1):
            if at == end or indent + self.width(first, at + 1) > self._line_length:
                lines.append((first, at))
                first, indent = at, 0
        return lines

    def _latest(self, start: int, end: int) -> list[int]:
        """Gives where the last no line, one line, two lines, ... begin at the earliest."""
        last, found = end, [end]
        for at in range(end - 1, start - 1, -1):
            if last - at > 1 and self.width(at, last) > self._line_length:
                last = at + 1
                found.append(last)
        count = len(self._filled(start, end))
        return [*found, start][:count]

    def _line_end(self, start: int, end: int, earliest: list[int], *, indent: int) -> int:
        """Gives where the next line ends, so that the others have room for the rest."""
        count = len(earliest)
        if count == 1:
            return end
        wanted = (indent + self.width(start, end)) / count

        def cost(at: int) -> float:
            last = self._pieces[at - 1]
            off = abs(indent + self.width(start, at) - wanted) / self._line_length
            return off - _CLAUSE_WORTH * (last.ending >= CLAUSE) + _LEANING_COST * last.leans

        return min(range(max(start + 1, earliest[count - 1]), self._stop(start, end, indent) + 1), key=cost)

    def _stop(self, start: int, end: int, indent: int) -> int:
        """Gives the furthest end of a line."""
        at = start + 1
        while at < end and indent + self.width(start, at + 1) <= self._line_length:
            at += 1
        return at

    def _text(self, start: int, end: int) -> str:
        pieces = self._pieces[start:end]
        return pieces[0].text + "".join(f" {piece.text}" if piece.spaced else piece.text for piece in pieces[1:])
