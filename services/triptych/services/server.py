"""The gRPC server of one process: which services it hosts, how it starts, and how it ends."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from triptych.core.caretaker import Caretaker
from triptych.core.settings import Settings
from triptych.core.store import Store
from triptych.services.backend import Backend
from triptych.services.blobs import Blobs
from triptych.services.caller import Keys
from triptych.services.deliverer import Deliverer
from triptych.services.guard import Guard
from triptych.services.health import Health
from triptych.services.intake import Intake
from triptych.services.jobs import Jobs
from triptych.services.live.service import Live
from triptych.services.pages import Pages
from triptych.services.system import System
from triptych.services.transcripts import Transcripts
from triptych.services.typed import Ocr, Reasoning, Transcription, TypedCalls, Vision
from triptych.services.webhooks import Webhooks
from triptych.v1.blob_service_pb2_grpc import add_BlobServiceServicer_to_server
from triptych.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from triptych.v1.ocr_service_pb2_grpc import add_OcrServiceServicer_to_server
from triptych.v1.reasoning_service_pb2_grpc import add_ReasoningServiceServicer_to_server
from triptych.v1.system_service_pb2_grpc import add_SystemServiceServicer_to_server
from triptych.v1.transcription_service_pb2_grpc import add_TranscriptionServiceServicer_to_server
from triptych.v1.vision_service_pb2_grpc import add_VisionServiceServicer_to_server
from triptych.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server

log = logging.getLogger("triptych.services")

TYPED = ("transcription", "ocr", "vision", "reasoning")
# Uploading, resuming and asking what there is belong to every typed service.
COMMON = ("jobs", "blobs", "system", "webhooks")
SERVICES = (*TYPED, *COMMON)
_SECOND = 1000
_MINUTE = 60 * _SECOND


class Server:
    """Hosts services until it is stopped. Make it on the loop that runs it.

    Args:
        settings: Read once, in main.
        services: Names out of `SERVICES`; a typed one brings the common ones along.
    """

    def __init__(self, settings: Settings, services: Iterable[str] = SERVICES) -> None:
        chosen = set(services)
        self.services = [name for name in SERVICES if name in chosen or (name in COMMON and chosen & set(TYPED))]
        self.address = ""
        self._settings = settings
        self._backend = Backend.open(settings)
        guard = Guard(Keys(settings.api_keys), self._backend.drain)
        self._grpc = grpc.aio.server(interceptors=[guard], options=options(settings))
        names = _add(self.services, self._backend, self._grpc)
        self._health = Health(names, self._backend.store)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._grpc)
        self._background: list[asyncio.Task[None]] = []
        self._store = Store(settings.redis_url)
        name = f"services@{socket.gethostname()}:{os.getpid()}:{id(self):x}"
        self._caretaker = Caretaker(settings, self._store, self._backend.broker, self._backend.blobs, name=name)

    async def start(self) -> str:
        """Begins to listen, whether Redis answers or not; gives the address.

        Raises:
            OSError: The address is taken, or none.
        """
        # Blob stores block; a default pool of a few threads would let one slow disk hold up all callers.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32, thread_name_prefix="blocking"))
        listen = self._settings.listen
        try:
            port = self._grpc.add_insecure_port(listen)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {listen}") from error
        self.address = listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"
        _warn_if_open(self._settings)
        await self._health.look()
        self._backend.hub.start()
        await self._grpc.start()
        self._background = [
            asyncio.create_task(self._health.follow_redis(), name="health"),
            asyncio.create_task(Deliverer(self._backend).run(), name="deliverer"),
        ]
        self._caretaker.start()
        return self.address

    async def stop(self) -> None:
        """Drains: refuses new calls, ends watches, lets waiting calls finish within `drain_s`."""
        drain_s = self._settings.drain_s
        await self._health.close()
        self._backend.drain.end_streams()
        # Balancers need a moment to look elsewhere; until then callers hear SERVER_DRAINING, not a refused connection.
        await asyncio.sleep(min(3, drain_s / 10))
        # Those that would be cut off hear why, and come back elsewhere.
        asyncio.get_running_loop().call_later(max(0, drain_s - 1), self._backend.drain.end_calls)
        await self._grpc.stop(drain_s)
        await asyncio.to_thread(self._caretaker.stop)
        self._store.close()
        for task in self._background:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._backend.close()


def options(settings: Settings) -> list[tuple[str, int]]:
    """Gives the channel arguments of the server."""
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Two servers would share a port without a word.
        ("grpc.so_reuseport", 0),
        # A burst over the default of 1000 would be shed with a bare CANCELLED; admission is ours.
        ("grpc.server.max_pending_requests", 20_000),
        ("grpc.server.max_pending_requests_hard_limit", 30_000),
        ("grpc.keepalive_time_ms", _MINUTE),
        ("grpc.keepalive_timeout_ms", 20 * _SECOND),
        # This spelling; the server ignores grpc.http2.min_recv_ping_interval_without_data_ms.
        ("grpc.http2.min_ping_interval_without_data_ms", 10 * _SECOND),
        ("grpc.max_connection_idle_ms", 10 * _MINUTE),
        # Connections end now and then, so that callers spread over new replicas.
        ("grpc.max_connection_age_ms", 30 * _MINUTE),
        # Calls that run stay: live ones can be neither moved nor resumed.
        ("grpc.max_connection_age_grace_ms", 24 * 60 * _MINUTE),
    ]


def _add(names: Iterable[str], backend: Backend, server: grpc.aio.Server) -> list[str]:
    """Adds services; gives their full names."""
    intake = Intake(backend)
    calls = TypedCalls(backend, intake)
    speech = Transcription(calls, Transcripts(backend), Live(backend, intake))
    adders: dict[str, tuple[str, Callable[[Any, Any], None], object]] = {
        "transcription": ("Transcription", add_TranscriptionServiceServicer_to_server, speech),
        "ocr": ("Ocr", add_OcrServiceServicer_to_server, Ocr(calls, Pages(backend))),
        "vision": ("Vision", add_VisionServiceServicer_to_server, Vision(calls)),
        "reasoning": ("Reasoning", add_ReasoningServiceServicer_to_server, Reasoning(calls, backend)),
        "jobs": ("Job", add_JobServiceServicer_to_server, Jobs(backend, intake)),
        "blobs": ("Blob", add_BlobServiceServicer_to_server, Blobs(backend)),
        "system": ("System", add_SystemServiceServicer_to_server, System(backend)),
        "webhooks": ("Webhook", add_WebhookServiceServicer_to_server, Webhooks(backend)),
    }
    for name in names:
        _title, add, servicer = adders[name]
        add(servicer, server)
    return [f"triptych.v1.{adders[name][0]}Service" for name in names]


def _warn_if_open(settings: Settings) -> None:
    host = settings.listen.rpartition(":")[0].strip("[]")
    with suppress(ValueError):
        if not settings.api_keys and not ipaddress.ip_address(host).is_loopback:
            log.warning("listening to other machines without api_keys: everybody may call")
