"""The processes of the embedded stack: a Redis-protocol server, the services, one worker per queue."""

from __future__ import annotations

import secrets
import sys

from triptych.cli.stack import valkey
from triptych.cli.stack.plan import Plan, ProcessSpec
from triptych.cli.stack.ports import free_port, is_free, split_address
from triptych.core.settings import Settings

WORKER_KINDS = ("transcription", "ocr", "vision", "reasoning")


def listen_address(settings: Settings) -> str:
    """Gives where the services will listen: what the operator set, else 50051, else a free port."""
    host, port = split_address(settings.listen)
    if "listen" in settings.model_fields_set and port:
        return settings.listen
    return f"{host}:{port if port and is_free(host, port) else free_port()}"


def embedded_plan(settings: Settings) -> Plan:
    """Makes the plan of a stack, with a Redis-protocol server of its own unless the operator named one.

    Raises:
        PreconditionFailed: A server is needed and there is none.
    """
    processes: list[ProcessSpec] = []
    redis_url = settings.redis_url
    if settings.embedded_redis:
        port, password = free_port(), secrets.token_hex(24)
        redis_url = f"redis://:{password}@127.0.0.1:{port}/0"
        config = valkey.write_config(settings.state_dir / "redis", port, password)
        server = (str(valkey.find_binary()), str(config))
        processes.append(ProcessSpec(name="redis", command=server, ready_url=redis_url))
    after = ("redis",) if settings.embedded_redis else ()
    env = {
        "TRIPTYCH_REDIS_URL": redis_url,
        "TRIPTYCH_STATE_DIR": str(settings.state_dir.resolve()),
        # One variable cannot name a port for each of them: each takes a free one and says which.
        "TRIPTYCH_METRICS_LISTEN": "127.0.0.1:0",
        "PYTHONUNBUFFERED": "1",
    }
    services = env | {"TRIPTYCH_LISTEN": listen_address(settings)}
    command = (sys.executable, "-m", "triptych.services", "all")
    processes.append(ProcessSpec(name="services", command=command, env=services, after=after))
    for kind in WORKER_KINDS:
        command = (sys.executable, "-m", "triptych.workers", kind)
        processes.append(ProcessSpec(name=f"worker-{kind}", command=command, env=env, after=after))
    return Plan(
        state_dir=settings.state_dir.resolve(),
        processes=tuple(processes),
        drain_s=settings.drain_s,
        redis_url=redis_url if settings.embedded_redis else "",
    )
