"""What prompts are handed to: a station, or what stands for one or another of them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, TypeVar

from triptych.v1.common_pb2 import ModelRef

if TYPE_CHECKING:
    from triptych.workers.batcher import Done

ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT = TypeVar("ResultT")


class Named(Protocol):
    """What has a model, such as an engine."""

    @property
    def model(self) -> ModelRef:
        """Names it."""


class Route(Protocol[ItemT_contra, ResultT]):
    """Takes items and gives futures of their results."""

    @property
    def engine(self) -> Named:
        """Names the model that gives the results, unless they say otherwise."""

    @property
    def may_leave(self) -> bool:
        """Whether a model outside may get items: nobody whose bytes have to stay here may wait for their results."""

    def submit(
        self, item: ItemT_contra, *, lane: int, deadline: float | None, tenant: str = "", weight: float = 1.0
    ) -> Future[Done[ResultT]]:
        """See `Station.submit`."""

    def stands(self, known: ResultT, /) -> bool:
        """Whether a result that is known already is what an item would get."""
