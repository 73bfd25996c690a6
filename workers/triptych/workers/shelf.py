"""Which models are loaded, what they take, who uses them, and which have to leave to make room."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from triptych.core.errors import AcceleratorMemoryExhausted
from triptych.workers.station import Station


class Borrower(Hashable, Protocol):
    """Who uses models."""

    waits: bool
    """Whether it stands still until it gets another model."""


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A loaded model."""

    name: str
    station: Station[Any, Any]
    device: str
    """Where it is."""
    size_bytes: int
    loans: set[Borrower]
    used_at: float
    """When it was last lent or given back, on the clock of `time.monotonic`."""
    leaving: bool = False
    """Whether it is lent to nobody any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Room for a model that is about to be loaded."""

    name: str
    device: str
    size_bytes: int
    borrower: Borrower


class Shelf:
    """Loaded models under a budget for each device. For one thread at a time.

    Args:
        max_bytes: Gives the budget of a device.
    """

    def __init__(self, max_bytes: Callable[[str], int]) -> None:
        self._max_bytes = max_bytes
        self._loaded: dict[str, Loaded] = {}
        self._known_bytes: dict[str, int] = {}
        self._plan: _Plan | None = None

    def all(self) -> list[Loaded]:
        """Gives the loaded models."""
        return list(self._loaded.values())

    def take(self, name: str, borrower: Borrower, now: float) -> Station[Any, Any] | None:
        """Lends a model, unless it is not loaded or has to leave."""
        loaded = self._loaded.get(name)
        if loaded is None or (loaded.leaving and borrower not in loaded.loans):
            return None
        loaded.used_at = now
        loaded.loans.add(borrower)
        return loaded.station

    def give_back(self, borrower: Borrower, now: float) -> None:
        """Takes back all that was lent to a borrower."""
        for loaded in self._loaded.values():
            if borrower in loaded.loans:
                loaded.loans.remove(borrower)
                loaded.used_at = now

    def put(self, loaded: Loaded) -> None:
        """Adds a model."""
        self._loaded[loaded.name] = loaded

    def remove(self, name: str) -> Loaded:
        """Takes a model off."""
        return self._loaded.pop(name)

    def learn(self, name: str, size_bytes: int) -> None:
        """Notes how large a model turned out to be."""
        self._known_bytes[name] = size_bytes

    def known_bytes(self, name: str) -> int:
        """Gives how large a model turned out to be; 0 if it was never loaded."""
        return self._known_bytes.get(name, 0)

    # Making room.

    def weigh(self) -> None:
        """Asks every model again what it takes: some grow with their batches."""
        for loaded in self.all():
            loaded.size_bytes = loaded.station.engine.memory_bytes() or loaded.size_bytes

    def plan(self, name: str, device: str, size_bytes: int, borrower: Borrower) -> None:
        """Begins to make room for a model; `cleared` says when there is.

        Raises:
            AcceleratorMemoryExhausted: It does not fit, whatever leaves.
        """
        max_bytes = self._max_bytes(device)
        kept = sum(loaded.size_bytes for loaded in self._on(device) if borrower in loaded.loans)
        if kept + size_bytes > max_bytes:
            beside = f" beside {kept} of other models that the job uses" if kept else ""
            raise AcceleratorMemoryExhausted(
                f"the model {name} takes {size_bytes} bytes{beside}; this worker may take {max_bytes}"
                " (TRIPTYCH_MAX_MEMORY_BYTES)",
                metadata={"model": name, "wanted_bytes": str(size_bytes), "limit_bytes": str(max_bytes)},
            )
        self._plan = _Plan(name=name, device=device, size_bytes=size_bytes, borrower=borrower)

    def cleared(self) -> bool:
        """Whether nobody uses what has to leave: the idle models first, then the longest unused ones.

        Raises:
            AcceleratorMemoryExhausted: Those who use it wait for this very room.
        """
        self._choose()
        users = {user for loaded in self.leaving() for user in loaded.loans}
        if self._plan and users and all(user.waits for user in users):
            raise AcceleratorMemoryExhausted(
                f"there is no room for {self._plan.name}: jobs that wait for a model use the others",
                metadata={"model": self._plan.name},
            )
        return not users

    def leaving(self) -> list[Loaded]:
        """Gives the models that have to leave."""
        return [loaded for loaded in self.all() if loaded.leaving]

    def cancel_plan(self) -> None:
        """Lets those stay that have not left."""
        self._plan = None
        for loaded in self.all():
            loaded.leaving = False

    def _choose(self) -> None:
        for loaded in self.all():
            loaded.leaving = False
        if self._plan is None:
            return
        there = self._on(self._plan.device)
        excess = self._plan.size_bytes + sum(loaded.size_bytes for loaded in there) - self._max_bytes(self._plan.device)
        for loaded in sorted(there, key=lambda one: (bool(one.loans), one.used_at)):
            if excess <= 0:
                break
            if self._plan.borrower not in loaded.loans:
                loaded.leaving = True
                excess -= loaded.size_bytes

    def _on(self, device: str) -> list[Loaded]:
        return [loaded for loaded in self.all() if loaded.device == device]

    # Letting idle models go.

    def unused_since(self, moment: float) -> list[Loaded]:
        """Gives the models that nobody has used since a moment, and that run nothing: a batch may outlast its job."""
        return [
            loaded for loaded in self.all() if not loaded.loans and loaded.used_at <= moment and loaded.station.idle
        ]

    def spared(self, device: str, missing_bytes: int) -> list[Loaded]:
        """Gives idle models of a device that take so much together, or all of them; the longest unused first."""
        chosen: list[Loaded] = []
        for loaded in sorted(self._on(device), key=lambda one: one.used_at):
            if missing_bytes > 0 and not loaded.loans and loaded.station.idle:
                chosen.append(loaded)
                missing_bytes -= loaded.size_bytes
        return chosen
