"""What an attempt needs of the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from triptych.v1.job_pb2 import JobEvent
from triptych.workers.unit_store import Units

if TYPE_CHECKING:
    from triptych.v1.common_pb2 import InputSource


class Backstage(Protocol):
    """The stores in a worker, a fake in a test."""

    @property
    def units(self) -> Units:
        """Gives what jobs share of their results."""

    def read(self, tenant: str, source: InputSource, offset: int = 0, limit: int = 0) -> bytes:
        """Gives the bytes of an input from offset on, at most limit (0: to the end)."""

    def size(self, tenant: str, source: InputSource) -> int:
        """Gives how many bytes an input has."""

    def emit(self, job_id: str, attempt: int, event: JobEvent) -> None:
        """Appends an event; one of an attempt that lost its lease is dropped."""

    def begin(self, job_id: str, attempt: int, unit: str) -> None:
        """Notes that a unit is in hand: should the worker die, it is to blame."""

    def settle(self, job_id: str, attempt: int, unit: str, *, set_aside: bool = False) -> None:
        """Notes that a unit is no longer in hand, or is not tried any more."""

    def save_part(self, job_id: str, attempt: int, unit: str, value: bytes) -> None:
        """Keeps a finished unit for the next attempt, should this one die; it is no longer in hand."""

    def parts(self, job_id: str) -> dict[str, bytes]:
        """Gives the units that earlier attempts finished."""

    def blame(self, job_id: str) -> dict[str, int]:
        """Gives how many workers died with each unit in hand."""
