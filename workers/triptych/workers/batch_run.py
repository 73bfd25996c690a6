"""Runs one batch, in ever smaller parts where it fails, and ends the futures of its items."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from triptych.workers.batch_history import BatchHistory
from triptych.workers.batch_memory import BatchMemory
from triptych.workers.batch_queue import Waiting

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
ReturnT = TypeVar("ReturnT")
P = ParamSpec("P")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[ResultT]):
    """A result, and what it took. `queued_ms` and `ran_ms` add up to the time since `submit`."""

    value: ResultT
    queued_ms: float
    """Until the engine call that gave the result; a failed call before it, in a larger batch, counts as queueing."""
    ran_ms: float
    """The engine call that gave the result."""
    batch_size: int
    """Items in that call; for one that joined a batch which goes on, the most that were in it at one time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """One batch, as it was formed, and how it went. Of a batch that items join and leave, one item that has left it."""

    name: str
    """The batcher's."""
    size: int
    """Items in it; the most at one time that the item shared it with, itself included."""
    cost: float
    """Sum of their costs; that of the item which left."""
    queued_ms: float
    """The longest any of them waited."""
    ran_ms: float
    """All engine calls together, if it was split."""
    split: bool
    """Whether it failed as a whole and was run in parts."""
    out_of_memory: bool
    """Whether it, or a part of it, did not fit the device."""
    errors: int
    """Items that ended with an error."""
    safe_cost: float | None = None
    """Ceiling of cost for batches of this key from now on; None where there is none."""


class BatchRun(Generic[ItemT, ResultT]):
    """One batch whose futures have begun; afterwards all of them have ended.

    Args:
        run_batch: The engine's.
        history: Learns runtimes and ceilings of cost.
        memory: Leased for every call.
        name: The batcher's.
        batch: At least one item, all of one key.
        failed: What all of them together have just raised; they are run in parts then.
    """

    def __init__(
        self,
        run_batch: Callable[[Sequence[ItemT]], Sequence[ResultT | Exception]],
        history: BatchHistory,
        memory: BatchMemory,
        name: str,
        batch: Sequence[Waiting[ItemT, Done[ResultT]]],
        failed: Exception | None = None,
    ) -> None:
        self._run_batch = run_batch
        self._failed = failed
        self._history = history
        self._memory = memory
        self._name = name
        self._batch = batch
        self._began = time.monotonic()
        self._split = False
        self._out_of_memory = False
        self._errors = 0

    def run(self) -> None:
        """Runs the batch. Raises nothing, whatever the engine does."""
        failed, self._failed = self._failed, None
        if failed is None:
            survive(self._run_part, self._batch)
        else:
            survive(self._split_up, self._batch, failed, self._began)
        for entry in self._batch:  # the last resort, for results that cannot even be looked at
            if not entry.future.done():
                self._errors += 1
                survive(entry.future.set_exception, RuntimeError("the result could not be delivered"))
            # An error in a future keeps its traceback, that the stack, that the batch: keep at least no images.
            del entry.item

    def report(self) -> BatchReport:
        """Says how it went; after `run`."""
        safe_cost = self._history.safe_cost(self._batch[0].key)
        return BatchReport(
            name=self._name,
            size=len(self._batch),
            cost=_cost(self._batch),
            queued_ms=1000 * (self._began - min(entry.arrived for entry in self._batch)),
            ran_ms=1000 * (time.monotonic() - self._began),
            split=self._split,
            out_of_memory=self._out_of_memory,
            errors=self._errors,
            safe_cost=None if math.isinf(safe_cost) else safe_cost,
        )

    def _run_part(self, part: Sequence[Waiting[ItemT, Done[ResultT]]]) -> bool:
        """Runs items in one call, or in halves if that fails. Says whether one of them was too large even alone."""
        began = time.monotonic()
        results = self._call(part)
        if isinstance(results, Exception):
            return self._split_up(part, results, began)
        ended = time.monotonic()
        errors_before = self._errors
        for entry, result in zip(part, results, strict=True):
            survive(self._deliver, entry, result, began, ended, len(part))
        if self._errors == errors_before:  # what fails or is stopped takes less than it would have
            self._history.learn_runtime(part[0].key, _cost(part), ended - began, ended)
        return False

    def _split_up(self, part: Sequence[Waiting[ItemT, Done[ResultT]]], error: Exception, began: float) -> bool:
        """Runs in halves what failed together; see `_run_part`."""
        out_of_memory = isinstance(error, MemoryError)
        self._out_of_memory |= out_of_memory
        if len(part) == 1:
            self._deliver(part[0], error, began, time.monotonic(), 1)
            return out_of_memory
        self._split = True
        logger.warning("%s: a batch of %d failed and is split", self._name, len(part), exc_info=error)
        del error
        middle = len(part) // 2
        halves = part[:middle], part[middle:]
        too_large = [self._run_part(half) for half in halves]
        # An item that does not fit even alone explains the failure, and teaches nothing about the others.
        if out_of_memory and not any(too_large):
            self._history.learn_safe_cost(part[0].key, max(map(_cost, halves)), _cost(part), time.monotonic())
        return any(too_large)

    def _call(self, part: Sequence[Waiting[ItemT, Done[ResultT]]]) -> Sequence[ResultT | Exception] | Exception:
        """Gives one result per item, or what the whole call raised."""
        try:
            items = [entry.item for entry in part]
            with self._memory.leased(items, part[0].key, _cost(part)) as lease:
                results = list(self._run_batch(items))
                if survive(_all_well, results):  # what fails or is stopped takes less than it would have
                    lease.learn(_cost(part))
        except BaseException as error:  # noqa: BLE001 - not even an engine's SystemExit may leave futures open
            return as_value(error)
        if len(results) == len(part):
            return results
        # Splitting would not help, and might hand items the results of others.
        message = f"{self._name or 'run_batch'} gave {len(results)} results for {len(part)} items"
        return [RuntimeError(message) for _ in part]

    def _deliver(
        self,
        entry: Waiting[ItemT, Done[ResultT]],
        result: ResultT | Exception,
        began: float,
        ended: float,
        batch_size: int,
    ) -> None:
        if entry.future.done():  # its engine heard that it was stopped
            self._errors += 1
            return
        if isinstance(result, BaseException):
            self._errors += 1
            entry.future.set_exception(as_value(result))
            return
        queued_ms, ran_ms = 1000 * (began - entry.arrived), 1000 * (ended - began)
        entry.future.set_result(Done(value=result, queued_ms=queued_ms, ran_ms=ran_ms, batch_size=batch_size))


def survive(call: Callable[P, ReturnT], *args: P.args, **kwargs: P.kwargs) -> ReturnT | None:
    """Calls what may run foreign code, callbacks for instance; what it raises goes to the log."""
    try:
        return call(*args, **kwargs)
    except BaseException:
        logger.exception("an error in a callback or result; the batcher goes on")
        return None


def _all_well(results: Sequence[object]) -> bool:
    return not any(isinstance(result, BaseException) for result in results)


def _cost(entries: Sequence[Waiting[ItemT, Done[ResultT]]]) -> float:
    return sum(entry.cost for entry in entries)


def as_value(error: BaseException) -> Exception:
    """Makes an exception fit for a future: one that keeps no tensors and does not end the thread that meets it.

    The frames of its traceback would keep the failed call's tensors on the device while the halves run.
    """
    link: BaseException | None = error
    for _ in range(16):  # bounded: a chain may bite its own tail
        if link is None:
            break
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    if isinstance(error, Exception):
        return error
    wrapped = RuntimeError(f"the engine raised {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
