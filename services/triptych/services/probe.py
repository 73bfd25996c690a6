"""`python -m triptych.services.probe`: asks the health service of this container, for its health check."""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from triptych.core.settings import Settings


def main() -> int:
    """Gives 0 if the services at `TRIPTYCH_LISTEN` are serving, else 1."""
    address = Settings().listen.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104 - not a bind
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=3)
        except grpc.RpcError as error:
            print(f"{address}: {error}", file=sys.stderr)  # noqa: T201 - that is its output
            return 1
    serving: bool = answer.status == health_pb2.HealthCheckResponse.SERVING
    return 0 if serving else 1


if __name__ == "__main__":
    sys.exit(main())
