"""Facts about the deployment: version, limits, models, queues."""
# ruff: noqa: N802 - methods bear the contract's names

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration

from triptych.core import load
from triptych.core.catalog import ModelEntry
from triptych.core.records import KINDS, LANE_NAMES, LANES
from triptych.core.release import version
from triptych.core.settings import Settings
from triptych.services import ledger
from triptych.services.backend import Backend
from triptych.services.fields import known_enums
from triptych.services.paging import from_token, page_size, query_digest, to_token
from triptych.v1 import system_service_pb2 as pb
from triptych.v1.system_service_pb2_grpc import SystemServiceServicer

DEFAULT_PAGE_SIZE = 100
T = TypeVar("T")


class System(SystemServiceServicer):
    """What this deployment can do and how busy it is."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def GetServerInfo(self, _request: pb.GetServerInfoRequest, _context: Any) -> pb.GetServerInfoResponse:
        """Gives version and limits; needs no Redis."""
        return pb.GetServerInfoResponse(version=version(), limits=limits(self._backend.settings))

    async def ListModels(self, request: pb.ListModelsRequest, _context: Any) -> pb.ListModelsResponse:
        """Lists models, by name."""
        known_enums(request, "")
        entries = [entry for entry in self._backend.catalog.entries if request.kind in (0, entry.kind)]
        page, token = _page(entries, request.page_size, request.page_token, f"models {request.kind}")
        loaded: Counter[str] = Counter()
        for kind in KINDS:
            loaded.update(live.model for live in await self._backend.store.run(load.live_workers(kind)))
        settings = self._backend.settings
        defaults = set(settings.default_models)
        return pb.ListModelsResponse(
            models=[_model(entry, entry.name in defaults, loaded[entry.name]) for entry in page], next_page_token=token
        )

    async def ListQueues(self, request: pb.ListQueuesRequest, _context: Any) -> pb.ListQueuesResponse:
        """Lists every lane of every kind, by name."""
        workers = {
            kind: len({live.worker for live in await self._backend.store.run(load.live_workers(kind))})
            for kind in KINDS
        }
        most = self._backend.settings.max_pending_per_lane
        lanes = await self._backend.store.run(load.lanes(KINDS))
        queues = sorted((_queue(lane, workers[lane.kind], most) for lane in lanes), key=lambda queue: queue.name)
        page, token = _page(queues, request.page_size, request.page_token, "queues")
        return pb.ListQueuesResponse(queues=page, next_page_token=token)

    async def ListLedgerEntries(
        self, request: pb.ListLedgerEntriesRequest, _context: Any
    ) -> pb.ListLedgerEntriesResponse:
        """Lists what left of the caller's tenant, newest first, with what is left of its budget."""
        return await ledger.list_entries(self._backend, request)


def limits(settings: Settings) -> pb.ServerLimits:
    """Gives the limits in force."""
    return pb.ServerLimits(
        max_message_bytes=settings.max_message_bytes,
        max_inline_bytes=settings.max_inline_bytes,
        max_inline_result_bytes=settings.max_inline_result_bytes,
        max_chunk_bytes=settings.max_chunk_bytes,
        max_blob_bytes=settings.max_blob_bytes,
        max_page_count=settings.max_page_count,
        max_audio_duration_ms=settings.max_audio_s * 1000,
        max_page_pixel_count=settings.max_page_pixels,
        max_blob_ttl=Duration(seconds=settings.max_blob_ttl_s),
        max_result_ttl=Duration(seconds=settings.max_result_ttl_s),
        max_wait_timeout=Duration(seconds=settings.max_wait_s),
        heartbeat_interval=_duration(settings.heartbeat_s * 1000),
    )


def _model(entry: ModelEntry, is_default: bool, ready: int) -> pb.Model:
    return pb.Model(
        name=entry.name,
        kind=entry.kind,
        revision=entry.revision,
        is_default=is_default,
        language_codes=entry.languages,
        ready_worker_count=ready,
    )


def _queue(lane: load.LaneLoad, workers: int, most: int) -> pb.Queue:
    return pb.Queue(
        name=f"{lane.kind}.{LANE_NAMES[lane.lane]}",
        kind=KINDS[lane.kind],
        priority=LANES[lane.lane],
        pending_count=lane.pending,
        running_count=lane.running,
        oldest_pending_age=_duration(lane.oldest_pending_ms),
        max_pending_count=most,
        worker_count=workers,
        drain_per_second=lane.drain_per_s,
    )


def _duration(ms: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(int(ms))
    return duration


def _page(items: Sequence[T], asked: int, token: str, what: str) -> tuple[Sequence[T], str]:
    size, query = page_size(asked, DEFAULT_PAGE_SIZE), query_digest(what)
    (start,) = from_token(token, query, 1) or [0]
    end = start + size
    return items[start:end], to_token(query, end) if end < len(items) else ""
