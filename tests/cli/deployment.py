"""Real services for the commands, and a worker that plays by the rules of the queue."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from services.conftest import Samples, Worker, eventually

from triptych.core import lookup
from triptych.core.records import JobRecord
from triptych.core.settings import Settings
from triptych.core.store import PREFIX, AsyncStore
from triptych.core.testing import free_port
from triptych.services.server import Server

PNG = Samples.png


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


class Command:
    """A command that runs in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def said(self) -> Said:
        """Waits for its end."""
        out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Said(code=self.process.returncode, out=out.decode(), err=err.decode())

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()


class Deployment:
    """Services at one address that can go away and come back."""

    def __init__(self, settings: Settings) -> None:
        self.target = f"127.0.0.1:{free_port()}"
        self.store = AsyncStore(settings.redis_url)
        self.worker: Any = Worker(self.store)
        self._settings = settings.model_copy(update={"listen": self.target, "drain_s": 0.5})
        self._server: Server | None = None
        self._commands: list[Command] = []

    async def start(self, **changes: Any) -> None:
        """Starts the services."""
        self._server = Server(self._settings.model_copy(update=changes))
        await self._server.start()
        await self.worker.announce()

    async def shut(self) -> None:
        """Stops the services; Redis and the jobs stay."""
        if self._server:
            await self._server.stop()
            self._server = None

    async def stop(self) -> None:
        """Ends everything."""
        for command in self._commands:
            command.kill()
            await command.process.wait()
        await self.shut()
        await self.store.close()

    async def begin(self, *args: object) -> Command:
        """Starts `triptych ARGS`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "triptych.cli", *map(str, args), "--target", self.target,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._commands.append(Command(process))
        return self._commands[-1]

    async def triptych(self, *args: object) -> Said:
        """Runs `triptych ARGS` to its end."""
        return await (await self.begin(*args)).said()

    @contextlib.asynccontextmanager
    async def working(self, count: int | None = None) -> AsyncIterator[asyncio.Task[None]]:
        """Lets the worker end jobs well, so many or all; gives the task that ends with the last of them."""

        async def work() -> None:
            done = 0
            while count is None or done < count:
                await self.worker.succeed(await self.worker.claim())
                done += 1

        # A worker that stumbles ends the test, which would wait for it in vain.
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work())
            yield task
            task.cancel()

    async def jobs(self) -> list[JobRecord]:
        """Gives all jobs, the oldest first."""
        page = await self.store.run(lookup.list_page("default", offset=0, limit=5000))
        return list(page.records)[::-1]

    async def until_pending(self, count: int, kind: str = "ocr") -> None:
        """Waits until so many jobs are in the batch lane."""

        async def there() -> bool:
            return bool(await self.store.redis.zcard(f"{PREFIX}pending:{kind}:2") == count)

        await eventually(there)
