"""The one interceptor around every call: who calls, by when, what went wrong, log and metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc_status import rpc_status
from prometheus_client import Counter, Histogram

from triptych.core.errors import (
    CapacityError,
    DeadlineRequired,
    FieldInvalid,
    HostExhausted,
    InternalError,
    TriptychError,
)
from triptych.services.caller import CALLER, Caller, Keys, trace_id
from triptych.services.drain import Drain, server_draining
from triptych.services.metrics import REFUSALS

log = logging.getLogger("triptych.access")

CALLS = Counter("triptych_rpc_calls", "Calls that ended", ["method", "code"])
SECONDS = Histogram(
    "triptych_rpc_seconds", "Time a call took", ["method"], buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
)
# Health and reflection serve infrastructure that has no key.
OPEN = ("/grpc.health.v1.Health/", "/grpc.reflection.")
DEADLINE_REQUIRED = frozenset({"Transcribe", "Recognize", "Generate", "Answer"})
_UNREADABLE = object()


class Guard(grpc.aio.ServerInterceptor):
    """Wraps every handler; what a servicer raises leaves as a status with an ErrorInfo, and nothing else does."""

    def __init__(self, keys: Keys, drain: Drain) -> None:
        self._keys = keys
        self._drain = drain

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Gives the handler, wrapped; an unknown method stays UNIMPLEMENTED."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(OPEN):
            return handler
        inner, metadata = _behaviour(handler), _text(handler_call_details.invocation_metadata)

        async def unary(request: Any, context: Any) -> Any:
            async with _Call(method, metadata, context, self._drain) as call:
                return await inner(call.enter(request, self._keys), context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            async with (
                _Call(method, metadata, context, self._drain) as call,
                aclosing(inner(call.enter(request, self._keys), context)) as answers,
            ):
                async for answer in answers:
                    yield answer

        return _MAKERS[handler.request_streaming, handler.response_streaming](
            stream if handler.response_streaming else unary,
            request_deserializer=_lenient(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


class _Call:
    """One call from its first check to its line in the log."""

    def __init__(self, method: str, metadata: dict[str, str], context: Any, drain: Drain) -> None:
        self._method, self._metadata, self._context, self._drain = method, metadata, context, drain
        self._started = time.perf_counter()
        self._trace_id = trace_id(metadata)
        self._tenant = ""

    async def __aenter__(self) -> Self:
        return self

    def enter(self, request: Any, keys: Keys) -> Any:
        """Lets the caller in, and gives the request."""
        if self._drain.draining:
            raise server_draining()
        self._tenant = keys.tenant(self._metadata)
        CALLER.set(Caller(tenant=self._tenant, trace_id=self._trace_id))
        if self._method.rsplit("/", 1)[1] in DEADLINE_REQUIRED and self._context.time_remaining() is None:
            raise DeadlineRequired("this call blocks until its job ends: set a deadline")
        return _each_readable(request) if hasattr(request, "__aiter__") else _readable(request)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._tell("OK")
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            await self._fail(error)
        else:  # the caller is gone: there is nobody to tell
            remaining_s = self._context.time_remaining()
            self._tell("CANCELLED" if remaining_s is None or remaining_s > 0 else "DEADLINE_EXCEEDED")

    async def _fail(self, error: Exception) -> None:
        if not isinstance(error, TriptychError):
            log.error("unhandled in %s", self._method, exc_info=error, extra={"trace_id": self._trace_id})
            message = "internal error; the server's log has the details under this trace id"
            error = InternalError(message, metadata={"traceId": self._trace_id})
        if isinstance(error, HostExhausted):
            REFUSALS.labels(error.metadata.get("resource", "")).inc()
        status = error.to_status()
        self._tell(code_pb2.Code.Name(status.code), error.reason)
        answer = rpc_status.to_status(status)
        pushback = _pushback(error, self._context.time_remaining())
        await self._context.abort(
            answer.code, answer.details, (*answer.trailing_metadata, *pushback, ("x-trace-id", self._trace_id))
        )

    def _tell(self, code: str, reason: str = "") -> None:
        elapsed_s = time.perf_counter() - self._started
        CALLS.labels(self._method, code).inc()
        SECONDS.labels(self._method).observe(elapsed_s)
        fields = {
            "event": "rpc",
            "method": self._method,
            "code": code,
            "ms": round(elapsed_s * 1000, 1),
            "tenant": self._tenant,
            "trace_id": self._trace_id,
        }
        if reason:
            fields["reason"] = reason
        if request := self._metadata.get("x-request-id"):
            fields["request_id"] = request[:128]
        if parent := self._metadata.get("traceparent"):
            fields["traceparent"] = parent[:64]
        log.info("rpc", extra=fields)


_MAKERS: dict[tuple[bool, bool], Any] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _behaviour(handler: Any) -> Any:
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream


def _text(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _pushback(error: TriptychError, left_s: float | None) -> tuple[tuple[str, str], ...]:
    """Steers gRPC's own retries: so many ms from now, or -1 for never.

    Args:
        error: Is told.
        left_s: Until the call's deadline. One that could not be repeated before it is told the reason now, not a
            DEADLINE_EXCEEDED later.
    """
    if not error.retryable:
        return (("grpc-retry-pushback-ms", "-1"),) if isinstance(error, CapacityError) else ()
    if error.retry_after_s is None:
        return ()
    if left_s is not None and error.retry_after_s >= left_s:
        return (("grpc-retry-pushback-ms", "-1"),)
    return (("grpc-retry-pushback-ms", str(int(error.retry_after_s * 1000))),)


def _lenient(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    # gRPC would answer UNKNOWN with the exception's text.
    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _UNREADABLE

    return read


def _readable(message: Any) -> Any:
    if message is _UNREADABLE:
        raise FieldInvalid("request", "is no message of this method's type")
    return message


async def _each_readable(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for message in messages:
        yield _readable(message)
