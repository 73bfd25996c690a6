"""A loaded network, whichever runtime runs it, and how it is run on many inputs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.heeding import HEED_EVERY_S, heed

Array: TypeAlias = npt.NDArray[np.float32]
TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


class Run(Protocol):
    """One run of a network."""

    @property
    def left(self) -> bool:
        """Whether `leave` was called; then `result` may raise anything."""

    def result(self, make: Callable[[Array], ResultT]) -> ResultT:
        """Computes the network's first output, and gives what `make` makes of it; called once, on any thread.

        Args:
            make: May keep nothing of the output itself.
        """

    def leave(self) -> None:
        """Has it end at its next operator, where the runtime can do that; called from any thread, also again."""


class Network(Protocol):
    """Weights that are loaded, with one input and one output. Several threads may run it at once."""

    def begin(self, values: Array) -> Run:
        """Prepares a run; nothing is computed yet."""

    def release(self) -> None:
        """Gives back what memory the runs left behind, as far as that is worth the time; none of them runs now."""


class Lanes:
    """Runs a network on many inputs, several at once, each on a thread of its own.

    A run on one thread costs less than one that is spread over several: those wait for each other at every operator.
    The caller's thread asks meanwhile which runs are still wanted, prepares the next ones, and takes what is done.

    Args:
        network: To run.
        count: Runs at once.
    """

    def __init__(self, network: Network, count: int) -> None:
        self._network = network
        self._count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="network")

    def run(
        self,
        tasks: Iterable[TaskT],
        *,
        values: Callable[[TaskT], Array],
        result: Callable[[Array], ResultT],
        unwanted: Callable[[TaskT], bool],
    ) -> Iterator[tuple[TaskT, ResultT]]:
        """Gives each task with its result, in the order in which they are done; what nobody wants is left out.

        Args:
            tasks: Taken one by one, when there is room for another run.
            values: Makes a task's input.
            result: Makes its result out of the network's output, on the run's thread, and keeps nothing of that.
            unwanted: Whether nobody wants the task any more; asked often.

        Raises:
            Exception: What leaves the block of `heeding` around it, or failed in a run.
        """
        waiting = iter(tasks)
        running: dict[Future[ResultT], tuple[TaskT, Run]] = {}
        try:
            while True:
                # One more than can run, so that no thread waits for the caller.
                while len(running) <= self._count and (task := next(waiting, None)) is not None:
                    if not unwanted(task):
                        run = self._network.begin(values(task))
                        running[self._threads.submit(run.result, result)] = task, run
                if not running:
                    return
                done = wait(running, HEED_EVERY_S, FIRST_COMPLETED).done
                heed()
                for task, run in running.values():
                    if unwanted(task):
                        run.leave()
                for future in done:
                    task, run = running.pop(future)
                    if not run.left:
                        yield task, future.result()
        finally:
            for _, run in running.values():
                run.leave()
            wait(running)

    def release(self) -> None:
        """Gives back the memory of the runs that are done."""
        self._network.release()

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown()
