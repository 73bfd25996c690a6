"""Fakes for those who write engines or kinds: a station without a model, a job without a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from triptych.core.units import Holder, Work
from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import JobEvent
from triptych.workers.engines.base import Engine
from triptych.workers.unit_store import Taken


class EchoEngine(Engine[str, str]):
    """Gives every text back in capitals; "bad" fails alone, and a closed gate holds the batch.

    Attributes:
        batches: What ran together, in order.
        gate: Open by default; clear it to keep a batch running.
        started: Set when a batch begins.
    """

    model = ModelRef(model="echo", revision="1", engine="echo/1")

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.started = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def load(self) -> None:
        """Nothing to load."""

    def run_batch(self, items: Sequence[str]) -> list[str | Exception]:
        """See `Engine.run_batch`."""
        self.batches.append(list(items))
        self.started.set()
        self.gate.wait()
        return [ValueError("a bad item") if item == "bad" else item.upper() for item in items]

    def cost(self, item: str) -> float:
        """One per character."""
        return len(item)


class StatedMeter:
    """A meter of which a test states what it measures.

    Attributes:
        device: See `MemoryMeter`.
        alone: See `MemoryMeter`.
        all_bytes: Memory of the device.
        peak_bytes: What the running batch takes at its peak.
        kept: What the model keeps of earlier batches.
    """

    def __init__(self, device: str = "cpu", *, all_bytes: int = 0, alone: bool = False) -> None:
        self.device = device
        self.alone = alone
        self.all_bytes = all_bytes
        self.peak_bytes = 0
        self.kept = 0

    def total_bytes(self) -> int:
        """See `MemoryMeter.total_bytes`."""
        return self.all_bytes

    def rest(self) -> None:
        """See `MemoryMeter.rest`."""

    def kept_bytes(self) -> int:
        """See `MemoryMeter.kept_bytes`."""
        return self.kept

    def begin(self) -> bool:
        """See `MemoryMeter.begin`."""
        return True

    def taken_bytes(self) -> int:
        """See `MemoryMeter.taken_bytes`."""
        return self.peak_bytes


class MemoryUnits:
    """Units that jobs share, in memory; nobody ever computes one elsewhere.

    Attributes:
        kept: (key of the work, unit) -> value.
    """

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def look(self, work: Work, holder: Holder, names: Sequence[str]) -> Mapping[str, bytes]:
        """See `Units.look`."""
        return self.take(work, holder, names).known

    def take(self, work: Work, holder: Holder, names: Sequence[str]) -> Taken:  # noqa: ARG002 - one tenant only
        """See `Units.take`."""
        known = {name: self.kept[work.key, name] for name in names if (work.key, name) in self.kept}
        return Taken(known=known, own=[name for name in names if name not in known])

    def keep(self, work: Work, holder: Holder, name: str, value: bytes) -> None:  # noqa: ARG002 - one tenant only
        """See `Units.keep`."""
        self.kept[work.key, name] = value

    def release(self, work: Work, holder: Holder, name: str) -> None:
        """See `Units.release`: nobody waits."""


class MemoryBackstage:
    """The stores of one job, in memory.

    Attributes:
        units: What it shares with other jobs; give several the same one to have them share.
        events: What the attempt told, in order.
        saved: The units it kept.
        begun: The units that it has in hand.
        set_aside: The units that it did not try any more.
        deaths: Unit -> workers that died on it before.
        on_event: Called with every event; set it to act in the middle of a job.
    """

    def __init__(self, data: bytes | Mapping[str, bytes] = b"", parts: Mapping[str, bytes] | None = None) -> None:
        self._data = data
        self.saved = dict(parts or {})
        self.units = MemoryUnits()
        self.events: list[JobEvent] = []
        self.begun: list[str] = []
        self.set_aside: list[str] = []
        self.deaths: dict[str, int] = {}
        self.on_event: Callable[[JobEvent], object] = lambda _event: None

    def read(self, tenant: str, source: InputSource, offset: int = 0, limit: int = 0) -> bytes:  # noqa: ARG002
        """Gives the data, or that of the blob's name."""
        data = self._data[source.blob] if isinstance(self._data, Mapping) else self._data
        return data[offset : offset + limit] if limit else data[offset:]

    def size(self, tenant: str, source: InputSource) -> int:
        """Gives the length of the data."""
        return len(self.read(tenant, source))

    def emit(self, job_id: str, attempt: int, event: JobEvent) -> None:  # noqa: ARG002 - one job only
        """Keeps the event."""
        self.events.append(event)
        self.on_event(event)

    def begin(self, job_id: str, attempt: int, unit: str) -> None:  # noqa: ARG002 - one job only
        """Keeps the unit's name."""
        self.begun.append(unit)

    def settle(self, job_id: str, attempt: int, unit: str, *, set_aside: bool = False) -> None:  # noqa: ARG002
        """Forgets that the unit is in hand."""
        if unit in self.begun:
            self.begun.remove(unit)
        self.set_aside += [unit] if set_aside else []

    def save_part(self, job_id: str, attempt: int, unit: str, value: bytes) -> None:
        """Keeps the unit."""
        self.settle(job_id, attempt, unit)
        self.saved[unit] = value

    def blame(self, job_id: str) -> dict[str, int]:  # noqa: ARG002 - one job only
        """Gives the deaths that the test wants."""
        return self.deaths

    def parts(self, job_id: str) -> dict[str, bytes]:  # noqa: ARG002 - one job only
        """Gives the parts."""
        return dict(self.saved)
