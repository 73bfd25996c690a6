"""Turns a failed gRPC call into the error of `triptych.core.errors` that the server raised."""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from triptych.core.errors import BackendUnavailable, TriptychError, from_status


def error_of(failed: grpc.RpcError, target: str) -> TriptychError:
    """Gives the error behind a failed call; `metadata["job"]` names the job if the server had begun one.

    Args:
        failed: What a stub of `grpc` or `grpc.aio` raised.
        target: Address that was called, for the message.
    """
    call: Any = failed
    code = call.code()
    status = rpc_status.from_call(call)
    if status is not None:
        error = from_status(status)
    elif code is grpc.StatusCode.UNAVAILABLE:
        # gRPC itself says so: nobody answered, or the connection broke.
        error = BackendUnavailable(
            f"cannot reach the services at {target}",
            metadata={"target": target, "detail": (call.details() or "")[:200]},
        )
    elif code is grpc.StatusCode.CANCELLED:
        # The services say of a job that was cancelled that it was. Bare, it is a service that is going away.
        error = BackendUnavailable(f"the call to {target} was cut off", metadata={"target": target})
    elif "http2 header with status" in (call.details() or ""):
        # A web server, or a proxy on the way, answered with a page.
        error = BackendUnavailable(
            f"what answers at {target} is no gRPC service", metadata={"target": target, "detail": call.details()[:200]}
        )
    else:
        error = from_status(Status(code=code.value[0], message=call.details() or code.name))
    for key, value in call.initial_metadata() or ():
        if key == "x-triptych-job":
            error.metadata["job"] = value
    return error
