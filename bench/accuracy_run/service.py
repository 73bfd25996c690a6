"""The service that is measured: the one that is named, or one of our own with a worker of one kind."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from proof import Process

from triptych.client import Client
from triptych.core.testing import ThrowawayRedis, free_port


@contextmanager
def service(target: str, api_key: str, kind: str) -> Iterator[Client]:
    """Gives a client of it. Our own takes its settings from TRIPTYCH_ variables, and is gone afterwards."""
    if target:
        with Client(target, api_key=api_key) as client:
            yield client
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="accuracy-")))
        redis = ThrowawayRedis().start()
        stack.callback(redis.close)
        address = f"127.0.0.1:{free_port()}"
        env = {"TRIPTYCH_REDIS_URL": redis.url, "TRIPTYCH_STATE_DIR": str(folder)}
        commands = {
            "services": ("-m", "triptych.services", "all", "--listen", address),
            "worker": ("-m", "triptych.workers", kind),
        }
        processes = [Process(command, env, folder, name).start() for name, command in commands.items()]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            process.until_ready()
        yield stack.enter_context(Client(address))
