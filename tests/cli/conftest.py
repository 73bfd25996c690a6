"""Makes processes that these tests start import the same sources as the tests do."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = [str(ROOT / root) for root in ("protos/stubs", "core", "clients", "services", "workers")]


@pytest.fixture(autouse=True)
def same_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(ROOTS))
    # Whatever the developer has set must not lead a test to a stack that is not its own.
    for name in ("TRIPTYCH_TARGET", "TRIPTYCH_LISTEN", "TRIPTYCH_REDIS_URL", "TRIPTYCH_STATE_DIR", "TRIPTYCH_API_KEY"):
        monkeypatch.delenv(name, raising=False)
