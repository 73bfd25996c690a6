"""`triptych-service`: hosts one, several or all gRPC services."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys

import uvloop

from triptych.core.errors import TriptychError
from triptych.core.settings import Settings
from triptych.core.supervision import tell_ready, watch_parent
from triptych.core.telemetry import serve_metrics, setup_logging
from triptych.services.metrics import watch_host
from triptych.services.server import COMMON, SERVICES, TYPED, Server

log = logging.getLogger("triptych.services")

EPILOG = f"""\
services:
  typed:   {", ".join(TYPED)}
  common:  {", ".join(COMMON)} (they come along with every typed one, and can be hosted alone)
  Health and reflection are always there.

Settings come from TRIPTYCH_* variables: TRIPTYCH_REDIS_URL, TRIPTYCH_LISTEN, TRIPTYCH_API_KEYS, TRIPTYCH_BLOB_DIR, ...
A Redis that is away keeps no service from starting: calls are answered with UNAVAILABLE until it is there.
SIGTERM drains for up to TRIPTYCH_DRAIN_S seconds. Exit codes: 0 drained, 1 could not start, 2 usage.
"""


async def serve(settings: Settings, services: list[str]) -> None:
    """Hosts the services until SIGTERM or SIGINT.

    Raises:
        OSError: An address is taken.
    """
    server = Server(settings, services)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = serve_metrics(settings.metrics_listen) if settings.metrics_listen else ""
    watch_host(settings)
    address = await server.start()
    facts: dict[str, object] = {"address": address, "metrics": metrics, "pid": os.getpid()}
    log.info("listening", extra={"event": "listening", "services": server.services, **facts})
    tell_ready(facts)
    await stop.wait()
    log.info("draining", extra={"event": "draining"})
    await server.stop()
    log.info("drained", extra={"event": "drained"})


def main(argv: list[str] | None = None) -> int:
    """Runs services until SIGTERM; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="triptych-service",
        description="Takes gRPC calls and turns them into jobs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "services", nargs="*", choices=["all", *SERVICES], default="all", metavar="SERVICE", help="default: all"
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="default: TRIPTYCH_LISTEN; port 0: a free one")
    parser.add_argument("--metrics", metavar="HOST:PORT", help="Prometheus page; default: TRIPTYCH_METRICS_LISTEN")
    arguments = parser.parse_args(argv)
    given = {"listen": arguments.listen, "metrics_listen": arguments.metrics}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    setup_logging(settings)
    watch_parent(settings)
    services = list(SERVICES) if "all" in arguments.services else arguments.services
    try:
        uvloop.run(serve(settings, services))
    except (TriptychError, OSError) as error:
        log.error("cannot start: %s", error)  # noqa: TRY400 - one line says it all
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
