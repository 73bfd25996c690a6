"""Remembers what batches of one model took at their peak, and says what the next one will take."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

MARGIN = 1.25
"""Memory that is leased, as a multiple of what was measured: allocators round up, and padding differs."""
GROWTH = 4.0
"""A batch costs at most so many times the largest of its key that ran well: no estimate reaches further."""
FALL = 0.1
MAX_KEYS = 1024


@dataclass(frozen=True, slots=True)
class _Peak:
    cost: float
    size_bytes: float


@dataclass(slots=True)
class _Shape:
    """What is known of one key."""

    peaks: dict[int, _Peak] = field(default_factory=dict)
    """One for each power of two of the cost."""
    ran: float = 0.0
    """Largest cost that ran well."""


class Peaks:
    """Peaks by batch key and size. Not thread-safe.

    Between two measured costs, and beyond the largest, memory is taken to grow as the cost does; below the smallest it
    does not shrink. An estimate rises at once and falls slowly: too small a batch is the lesser evil. A key that never
    ran is taken for as hungry as the hungriest.
    """

    def __init__(self) -> None:
        self._shapes: OrderedDict[Hashable, _Shape] = OrderedDict()

    def learn(self, key: Hashable, cost: float, size_bytes: int) -> None:
        """Takes note of what a batch took."""
        self.note_run(key, cost)
        peaks, size = self._shapes[key].peaks, math.frexp(cost)[1]
        known = peaks.get(size)
        if known is None or size_bytes >= known.size_bytes:
            peaks[size] = _Peak(cost, size_bytes)
        else:
            peaks[size] = _Peak(known.cost, known.size_bytes + FALL * (size_bytes - known.size_bytes))

    def note_run(self, key: Hashable, cost: float) -> None:
        """Takes note of a batch that ran well, but of which nobody can tell what it took."""
        shape = self._shapes.setdefault(key, _Shape())
        shape.ran = max(shape.ran, cost)
        self._shapes.move_to_end(key)
        if len(self._shapes) > MAX_KEYS:
            self._shapes.popitem(last=False)

    def expected_bytes(self, key: Hashable, cost: float) -> int | None:
        """Gives what a batch will take at most, with a margin; None if no batch of the model was ever measured."""
        curves = self._curves(key)
        if not curves:
            return None
        return math.ceil(MARGIN * max(_at(curve, cost) for curve in curves))

    def max_cost(self, key: Hashable, room_bytes: int) -> float:
        """Gives the cost up to which batches fit; 0, which stands for a single item, if nothing is known."""
        curves = self._curves(key)
        if not curves:
            return 0.0
        own = self._shapes.get(key)
        ran = own.ran if own else max(shape.ran for shape in self._shapes.values())
        return min([GROWTH * ran, *(_reaching(curve, room_bytes / MARGIN) for curve in curves)])

    def _curves(self, key: Hashable) -> list[Sequence[_Peak]]:
        """Gives what applies to a key: its own peaks, or those of all others."""
        own = self._shapes.get(key)
        shapes = [own] if own and own.peaks else self._shapes.values()
        return [_rising(shape.peaks.values()) for shape in shapes if shape.peaks]


def _rising(peaks: Iterable[_Peak]) -> list[_Peak]:
    """Orders by cost; a larger batch takes no less."""
    rising: list[_Peak] = []
    most = 0.0
    for peak in sorted(peaks, key=lambda peak: peak.cost):
        most = max(most, peak.size_bytes)
        rising.append(_Peak(peak.cost, most))
    return rising


def _at(curve: Sequence[_Peak], cost: float) -> float:
    below = [peak for peak in curve if peak.cost <= cost]
    above = [peak.size_bytes for peak in curve if peak.cost > cost]
    if not below:
        return above[0]
    last = below[-1]
    grown = last.size_bytes * cost / last.cost if last.cost else last.size_bytes
    return min([grown, *above[:1]])


def _reaching(curve: Sequence[_Peak], room_bytes: float) -> float:
    """Gives the largest cost at which `_at` is within the room."""
    fitting = [peak for peak in curve if peak.size_bytes <= room_bytes]
    if not fitting:
        return 0.0
    last = fitting[-1]
    reach = last.cost * room_bytes / last.size_bytes if last.size_bytes else math.inf
    too_large = [peak.cost for peak in curve if peak.size_bytes > room_bytes]
    return min([reach, *(math.nextafter(cost, 0) for cost in too_large[:1])])
