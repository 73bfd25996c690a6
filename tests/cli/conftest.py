"""Makes processes that these tests start import the same sources as the tests do."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli.deployment import Deployment
from client.standin import StandIn

from triptych.core.settings import Settings

ROOT = Path(__file__).parents[2]
ROOTS = [str(ROOT / root) for root in ("protos/stubs", "core", "clients", "services", "workers")]


@pytest.fixture(autouse=True)
def same_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(ROOTS))
    # Whatever the developer has set must not lead a test to a stack that is not its own.
    for name in ("TRIPTYCH_TARGET", "TRIPTYCH_LISTEN", "TRIPTYCH_REDIS_URL", "TRIPTYCH_STATE_DIR", "TRIPTYCH_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def deployment(settings: Settings) -> AsyncIterator[Deployment]:
    """A real server with a real Redis behind it, and a worker whose jobs the test ends."""
    deployment = Deployment(settings)
    await deployment.start()
    yield deployment
    await deployment.stop()


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    """Services that say what the test wants."""
    standin = StandIn()
    await standin.start()
    yield standin
    await standin.stop()
