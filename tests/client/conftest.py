"""What the clients talk to."""

from collections.abc import AsyncIterator

import pytest
from client.standin import StandIn


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    """Services that say what the test wants."""
    standin = StandIn()
    await standin.start()
    yield standin
    await standin.stop()
