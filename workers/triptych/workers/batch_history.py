"""Remembers, for each batch key, what fits the device and how long it takes."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from triptych.core.ceilings import Ceiling

MAX_KEYS = 4096
ESTIMATE_LIFE_S = 60.0
RISE = 0.2
# A ceiling is tried to be raised by so much, if batches come near it, after a time that doubles with every failure.
CEILING_RISE = 1.25
NEAR_CEILING = 0.5
PROBE_AFTER_S = 600.0
MAX_PROBE_AFTER_S = 24 * 3600.0


@dataclass(slots=True)
class _Lesson:
    ceiling: Ceiling | None = None
    ceiling_since: float | None = None
    """When it was last lowered or raised; None if that was before this process began."""
    raised: bool = False
    """Whether the last change was a try."""
    seconds_per_cost: float = 0.0
    ran_at: float = -math.inf


class BatchHistory:
    """What running batches has taught; the least recently run keys are forgotten. Not thread-safe.

    A ceiling of cost is half of what ran out of memory. Perhaps it was learned in a bad moment, so it rises: by a
    quarter each time that a batch near it runs well after ten minutes without a change. If that fails, it falls again
    and the time doubles, up to a day. Once a batch as large as the one that failed has run well, it is forgotten.

    Args:
        ceilings: What was learned before this process began, by the text of the key (`repr`).
        on_ceiling: Told of every change, on the batcher's thread; None: the key has no ceiling any more.
    """

    def __init__(
        self,
        ceilings: Mapping[str, Ceiling] | None = None,
        on_ceiling: Callable[[str, Ceiling | None], object] = lambda _key, _ceiling: None,
    ) -> None:
        self._lessons: OrderedDict[Hashable, _Lesson] = OrderedDict()
        self._remembered = dict(ceilings or {})
        self._on_ceiling = on_ceiling

    def learn_runtime(self, key: Hashable, cost: float, runtime_s: float, now: float) -> None:
        """Takes note of a run. The estimate falls at once and rises slowly: dropping too few is the lesser evil."""
        if cost <= 0:
            return
        lesson, seconds = self._lesson(key), runtime_s / cost
        known = seconds if now - lesson.ran_at > ESTIMATE_LIFE_S else lesson.seconds_per_cost
        lesson.seconds_per_cost = min(seconds, known + RISE * (seconds - known))
        lesson.ran_at = now
        if lesson.ceiling:
            self._probe(key, lesson, lesson.ceiling, cost, now)

    def learn_safe_cost(self, key: Hashable, cost: float, failed_cost: float, now: float) -> None:
        """Takes note that this much fits the device, and that `failed_cost` did not."""
        lesson = self._lesson(key)
        ceiling = Ceiling(safe_cost=cost, failed_cost=failed_cost, probe_after_s=PROBE_AFTER_S)
        if before := lesson.ceiling:
            ceiling = Ceiling(
                safe_cost=min(before.safe_cost, cost),
                failed_cost=min(before.failed_cost, failed_cost),
                probe_after_s=min(MAX_PROBE_AFTER_S, before.probe_after_s * (2 if lesson.raised else 1)),
            )
        lesson.raised = False
        self._set(key, lesson, ceiling, now)

    def safe_cost(self, key: Hashable) -> float:
        """Gives the ceiling of cost; infinite where memory never ran out."""
        lesson = self._lesson(key) if self._remembered else self._lessons.get(key)
        return lesson.ceiling.safe_cost if lesson and lesson.ceiling else math.inf

    def runtime_s(self, key: Hashable, cost: float, now: float) -> float:
        """Gives how long an item takes at least; 0 if unknown.

        A share of a batch is less than an item alone would take, so whoever is refused by this had no chance. An old
        estimate counts as unknown: had one slow run made us drop everything, no run would ever correct it.
        """
        lesson = self._lessons.get(key)
        return cost * lesson.seconds_per_cost if lesson and now - lesson.ran_at <= ESTIMATE_LIFE_S else 0.0

    def _probe(self, key: Hashable, lesson: _Lesson, ceiling: Ceiling, cost: float, now: float) -> None:
        """Raises the ceiling, or forgets it, if what has just run well allows that."""
        if lesson.ceiling_since is None:
            lesson.ceiling_since = now
        if cost >= ceiling.failed_cost:
            lesson.raised = False
            self._set(key, lesson, None, now)
        elif now - lesson.ceiling_since >= ceiling.probe_after_s and cost >= NEAR_CEILING * ceiling.safe_cost:
            lesson.raised = True
            self._set(key, lesson, ceiling.raised(CEILING_RISE), now)

    def _set(self, key: Hashable, lesson: _Lesson, ceiling: Ceiling | None, now: float) -> None:
        lesson.ceiling, lesson.ceiling_since = ceiling, now
        self._on_ceiling(repr(key), ceiling)

    def _lesson(self, key: Hashable) -> _Lesson:
        lesson = self._lessons.get(key)
        if lesson is None:
            lesson = self._lessons[key] = _Lesson(ceiling=self._remembered.pop(repr(key), None))
        self._lessons.move_to_end(key)
        if len(self._lessons) > MAX_KEYS:
            self._lessons.popitem(last=False)
        return lesson
