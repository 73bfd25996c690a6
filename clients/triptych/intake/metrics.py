"""What an intake counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from triptych.core.errors import PreconditionFailed
from triptych.intake.event import Counts

if TYPE_CHECKING:
    from prometheus_client import Metric

_COUNTERS = {
    "seen": "Files that came",
    "submitted": "Jobs that were begun or joined",
    "done": "Results, duplicates with them",
    "failed": "Files that failed",
    "duplicates": "Files whose bytes had come before: they cost no job",
    "put_back": "Times that a file could not be read or moved",
    "gone": "Files that went away before they were sent",
    "read_bytes": "Bytes of files that came",
}


class Metrics:
    """Gives the figures when they are asked for.

    Args:
        counts: Of the run.
        oldest_s: Gives the age of the oldest file that has no result.
    """

    def __init__(self, counts: Counts, oldest_s: Callable[[], float]) -> None:
        self._counts = counts
        self._oldest_s = oldest_s

    def collect(self) -> Iterator[Metric]:
        """Yields the figures, as prometheus-client asks."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"triptych_intake_{name}", text, value=getattr(self._counts, name))
        yield GaugeMetricFamily("triptych_intake_in_flight", "Jobs that have not ended", value=self._counts.in_flight)
        yield GaugeMetricFamily(
            "triptych_intake_oldest_seconds", "Age of the oldest file without a result", value=self._oldest_s()
        )

    def serve(self, host: str, port: int) -> int:
        """Serves them over HTTP, in a thread; gives the port.

        Raises:
            PreconditionFailed: prometheus-client is not installed.
            OSError: The port is taken.
        """
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise PreconditionFailed(
                "prometheus-client is not installed", metadata={"hint": "pip install 'triptych[intake]'"}
            ) from None
        registry = CollectorRegistry()
        registry.register(self)
        server, _thread = start_http_server(port, host, registry)
        return int(server.server_port)
