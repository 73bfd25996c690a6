"""What an engine is: a list of items in, a list of results of the same length out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from triptych.v1.common_pb2 import ModelRef
from triptych.workers.joining_run import JoinableBatch
from triptych.workers.memory_meters import MemoryMeter, ProcessMemory

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Engine(ABC, Generic[ItemT, ResultT]):
    """A model that runs batches. Only one thread, the batcher's, calls it after `load`.

    An engine knows neither jobs nor queues: what it needs of one request is in the item.
    """

    model: ModelRef
    """Exact weights: name, revision, engine and its version. In every result."""

    @abstractmethod
    def load(self) -> None:
        """Reads the weights. Slow; called once, before anything else."""

    def warm_up(self) -> None:
        """Runs once on made-up input, so that the first request does not pay for lazy set-up."""

    def memory_bytes(self) -> int:
        """Gives the memory that the loaded weights take on their device; 0 if the engine cannot tell.

        What batches need comes on top. Called from any thread.
        """
        return 0

    def memory_meter(self) -> MemoryMeter:
        """Gives what measures the memory that batches take, and says on which device. Called before `load`."""
        return ProcessMemory()

    def unload(self) -> None:
        """Ends what would outlive the engine, such as a process. Called once, after the last batch."""

    def forget(self) -> None:
        """Drops what it keeps of earlier items: a document was purged. Called from any thread, also amid a batch."""

    @abstractmethod
    def run_batch(self, items: Sequence[ItemT]) -> Sequence[ResultT | Exception]:
        """Gives one result per item, in order; an item's own failure is an exception in its slot.

        Raises:
            MemoryError: The batch does not fit the device; the batcher splits it.
        """

    @abstractmethod
    def cost(self, item: ItemT) -> float:
        """What the item adds to its batch, in the engine's own unit (audio seconds, pixels, tokens)."""

    def batch_key(self, item: ItemT) -> Hashable:  # noqa: ARG002 - engines that care override it
        """Items share a batch only if their keys are equal (same shape, same decoding options)."""
        return None


class RunningEngine(Engine[ItemT, ResultT]):
    """A model whose batches items join and leave between two steps, tokens for instance."""

    @abstractmethod
    def begin_batch(self) -> JoinableBatch[ItemT, ResultT]:
        """Gives an empty batch. One at a time is used; what it holds of the device goes with it."""

    def run_batch(self, items: Sequence[ItemT]) -> list[ResultT | Exception]:
        """See `Engine.run_batch`: all join at once, and nobody later."""
        batch = self.begin_batch()
        numbers = [batch.join(item) for item in items]
        outcomes: dict[int, ResultT | Exception] = {}
        while len(outcomes) < len(numbers):
            outcomes.update(batch.step())
        return [outcomes[number] for number in numbers]
