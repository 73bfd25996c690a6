"""A service with its workers, real processes around a Redis of their own, that are gone when the run ends."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from proof import Process
from redis import Redis

from triptych.client import Client
from triptych.core.testing import ThrowawayRedis, free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStack:
    """It runs.

    Attributes:
        client: Of the service.
        worker: The first.
        around: Process ids of the service and of Redis.
    """

    client: Client
    worker: Process
    around: tuple[int, int]


@contextmanager
def own_stack(
    kind: str, settings: Mapping[str, str] | None = None, *, beside: Sequence[str] = ()
) -> Iterator[OwnStack]:
    """Starts it, ready to work.

    Args:
        kind: Of the worker.
        settings: TRIPTYCH_ variables, over those of this process.
        beside: Kinds of further workers.
    """
    with ExitStack() as after:
        folder = Path(after.enter_context(tempfile.TemporaryDirectory(prefix="triptych-")))
        redis = ThrowawayRedis().start()
        after.callback(redis.close)
        address = f"127.0.0.1:{free_port()}"
        env = {"TRIPTYCH_REDIS_URL": redis.url, "TRIPTYCH_STATE_DIR": str(folder), **(settings or {})}
        workers = [Process(("-m", "triptych.workers", one), env, folder, one) for one in (kind, *beside)]
        service = Process(("-m", "triptych.services", "all", "--listen", address), env, folder, "service")
        for process in (*workers, service):
            after.callback(process.start().kill)
        for process in (*workers, service):
            process.until_ready()
        with Redis.from_url(redis.url) as admin:
            redis_pid = admin.info("server")["process_id"]
        client = after.enter_context(Client(address))
        yield OwnStack(client=client, worker=workers[0], around=(service.pid, redis_pid))
