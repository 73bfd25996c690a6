"""Remembers, for each batch key, what fits the device and how long it takes."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

MAX_KEYS = 4096
ESTIMATE_LIFE_S = 60.0
RISE = 0.2


@dataclass(slots=True)
class _Lesson:
    safe_cost: float = math.inf
    seconds_per_cost: float = 0.0
    ran_at: float = -math.inf


class BatchHistory:
    """What running batches has taught; the least recently run keys are forgotten. Not thread-safe."""

    def __init__(self) -> None:
        self._lessons: OrderedDict[Hashable, _Lesson] = OrderedDict()

    def learn_runtime(self, key: Hashable, cost: float, runtime_s: float, now: float) -> None:
        """Takes note of a run. The estimate falls at once and rises slowly: dropping too few is the lesser evil."""
        if cost <= 0:
            return
        lesson, seconds = self._lesson(key), runtime_s / cost
        known = seconds if now - lesson.ran_at > ESTIMATE_LIFE_S else lesson.seconds_per_cost
        lesson.seconds_per_cost = min(seconds, known + RISE * (seconds - known))
        lesson.ran_at = now

    def learn_safe_cost(self, key: Hashable, cost: float) -> None:
        """Takes note that this much fits the device and more did not. The ceiling never rises again."""
        lesson = self._lesson(key)
        lesson.safe_cost = min(lesson.safe_cost, cost)

    def safe_cost(self, key: Hashable) -> float:
        """Gives the ceiling of cost; infinite where memory never ran out."""
        lesson = self._lessons.get(key)
        return lesson.safe_cost if lesson else math.inf

    def runtime_s(self, key: Hashable, cost: float, now: float) -> float:
        """Gives how long an item takes at least; 0 if unknown.

        A share of a batch is less than an item alone would take, so whoever is refused by this had no chance. An old
        estimate counts as unknown: had one slow run made us drop everything, no run would ever correct it.
        """
        lesson = self._lessons.get(key)
        return cost * lesson.seconds_per_cost if lesson and now - lesson.ran_at <= ESTIMATE_LIFE_S else 0.0

    def _lesson(self, key: Hashable) -> _Lesson:
        lesson = self._lessons.setdefault(key, _Lesson())
        self._lessons.move_to_end(key)
        if len(self._lessons) > MAX_KEYS:
            self._lessons.popitem(last=False)
        return lesson
