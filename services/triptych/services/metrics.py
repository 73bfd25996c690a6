"""What a service counts about its host, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from triptych.core.room import free_disk_bytes, free_memory_bytes
from triptych.core.settings import Settings

FREE = Gauge("triptych_host_free_bytes", "What the disk of the blobs and the memory have left", ["resource"])
REFUSALS = Counter("triptych_host_refusals", "Calls refused because the host is nearly full", ["resource"])


def watch_host(settings: Settings) -> None:
    """Has the host looked at whenever the page is read."""
    if settings.blob_store == "directory":
        FREE.labels("disk").set_function(lambda: free_disk_bytes(settings.blobs_path))
    if free_memory_bytes() is not None:
        FREE.labels("memory").set_function(lambda: free_memory_bytes() or 0)
