"""How a channel to the services is set up: keepalive, message limits, retries, balancing, the caller's key."""

from __future__ import annotations

import json
from typing import Any

import grpc

MIB = 1024 * 1024
DEFAULT_TARGET = "127.0.0.1:50051"

# BlobService is missing on purpose: an upload is resumed by GetUpload, not sent again.
_RETRIED = (
    "JobService",
    "SystemService",
    "TranscriptionService",
    "OcrService",
    "VisionService",
    "ReasoningService",
    "WebhookService",
)

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": f"triptych.v1.{service}"} for service in _RETRIED],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ],
}


def address_of(target: str) -> tuple[str, bool]:
    """Splits a target into gRPC's own spelling and whether TLS is wanted (`https://host:port`)."""
    if target.startswith("https://"):
        return target.removeprefix("https://").rstrip("/"), True
    return target.removeprefix("http://").rstrip("/"), False


def channel_options(target: str, *, retries: bool = True, max_message_bytes: int = 4 * MIB) -> list[tuple[str, Any]]:
    """Gives the channel arguments for a target; `retries` as in `AsyncClient`."""
    host = address_of(target)[0].removeprefix("dns:///").rsplit(":", 1)[0].strip("[]")
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 0),
        # A server that restarts is found again in seconds; gRPC's own limit is two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 3_000),
        ("grpc.enable_retries", int(retries)),
        # A call with more bytes than this is not retried; 256 KiB would leave out those with inline inputs.
        ("grpc.per_rpc_retry_buffer_size", max_message_bytes),
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ]
    if host in {"127.0.0.1", "localhost", "::1"}:
        # A company proxy cannot reach this machine's loopback.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def open_channel(flavour: Any, target: str, *, retries: bool = True) -> Any:
    """Gives a channel of `grpc` or of `grpc.aio`; it connects when it is first used."""
    address, tls = address_of(target)
    options = channel_options(target, retries=retries)
    if tls:
        return flavour.secure_channel(address, grpc.ssl_channel_credentials(), options=options)
    return flavour.insecure_channel(address, options=options)


def credentials_metadata(api_key: str) -> tuple[tuple[str, str], ...]:
    """Gives the metadata that names the caller; empty without a key."""
    return (("authorization", f"Bearer {api_key}"),) if api_key else ()
