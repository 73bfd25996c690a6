"""Fakes for those who write engines or kinds: a station without a model, a job without a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import JobEvent
from triptych.workers.engines.base import Engine


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


class MemoryBackstage:
    """The stores of one job, in memory.

    Attributes:
        events: What the attempt told, in order.
        saved: The parts it kept.
        on_event: Called with every event; set it to act in the middle of a job.
    """

    def __init__(self, data: bytes | Mapping[str, bytes] = b"", parts: Mapping[str, bytes] | None = None) -> None:
        self._data = data
        self.saved = dict(parts or {})
        self.events: list[JobEvent] = []
        self.on_event: Callable[[JobEvent], object] = lambda _event: None

    def read(self, tenant: str, source: InputSource) -> bytes:  # noqa: ARG002 - one tenant only
        """Gives the data, or that of the blob's name."""
        return self._data[source.blob] if isinstance(self._data, Mapping) else self._data

    def emit(self, job_id: str, attempt: int, event: JobEvent) -> None:  # noqa: ARG002 - one job only
        """Keeps the event."""
        self.events.append(event)
        self.on_event(event)

    def save_part(self, job_id: str, attempt: int, key: str, value: bytes) -> None:  # noqa: ARG002 - one job only
        """Keeps the part."""
        self.saved[key] = value

    def parts(self, job_id: str) -> dict[str, bytes]:  # noqa: ARG002 - one job only
        """Gives the parts."""
        return dict(self.saved)
