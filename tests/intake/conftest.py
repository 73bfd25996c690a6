"""An intake without its command: a folder, a journal and services that say what the test wants."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from client.standin import StandIn

from triptych.client import AsyncClient, specs
from triptych.intake.event import Event
from triptych.intake.filing import Filing
from triptych.intake.journal import Journal
from triptych.intake.order import Order
from triptych.intake.results import Results
from triptych.intake.runner import Runner
from triptych.intake.source import Listed
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobOptions


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    standin = StandIn()
    await standin.start()
    yield standin
    await standin.stop()


class Desk:
    """What stays on the disk when an intake dies, and a way to begin one."""

    def __init__(self, folder: Path, target: str) -> None:
        self.inbox, self.out = folder / "in", folder / "out"
        for path in (self.inbox, self.out):
            path.mkdir(parents=True, exist_ok=True)
        self.events: list[Event] = []
        self._target = target

    def drop(self, name: str, data: bytes) -> Path:
        path = self.inbox / name
        path.write_bytes(data)
        return path

    def orders(self, *, leaves: bool) -> list[Order]:
        return [
            Order(
                name=path.name,
                spec=specs.transcription(InputSource()),
                files=(path,),
                options=JobOptions(),
                leaves=leaves,
            )
            for path in sorted(self.inbox.iterdir())
            if path.is_file()
        ]

    @contextlib.contextmanager
    def journal(self) -> Any:
        with contextlib.closing(Journal(self.out / "journal.sqlite")) as journal:
            yield journal

    async def run(self, *, leaves: bool = True, source: Any = None, **options: Any) -> Runner:
        filing = Filing(done=self.inbox / "done", failed=self.inbox / "failed")
        with self.journal() as journal, contextlib.closing(Results(self.out, journal, with_table=True)) as results:
            async with AsyncClient(self._target, retries=False) as client:
                runner = Runner(
                    client, journal, results, source or Listed(self.orders(leaves=leaves)), filing=filing,
                    tell=self.events.append, **{"in_flight": 2, "all_alike": True} | options,
                )  # fmt: skip
                await runner.run()
        return runner

    def told(self, what: str) -> list[str]:
        return [event.name or event.reason for event in self.events if event.what == what]


@pytest.fixture
def desk(tmp_path: Path, server: StandIn) -> Desk:
    return Desk(tmp_path, server.target)
