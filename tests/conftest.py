"""What all tests share: a real Redis, the weights, the small inputs that travel with the repository."""

import os
from pathlib import Path

import pytest

from triptych.core.settings import Settings
from triptych.core.testing import ThrowawayRedis


def pytest_configure(config):
    # Settings of the developer's shell or .env must not leak into tests.
    keep = {"TRIPTYCH_MODELS_DIR"}
    for name in [name for name in os.environ if name.startswith("TRIPTYCH_") and name not in keep]:
        del os.environ[name]


@pytest.fixture(scope="session")
def redis_server():
    """One real server for the whole session; tests that kill it start their own ThrowawayRedis."""
    server = ThrowawayRedis().start()
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server):
    """Url of an empty database."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture
def settings(redis_url, tmp_path):
    """Settings of one test: its own Redis and folders."""
    return Settings(_env_file=None, redis_url=redis_url, state_dir=tmp_path / "state")


@pytest.fixture(scope="session")
def models_dir():
    """Folder of the embedded weights. A missing model fails the test: `make test` pulls them."""
    folder = Settings(_env_file=None).models_dir
    missing = [
        name
        for name in ("whisper-base", "pp-ocrv6-small", "qwen2.5-coder-0.5b-instruct")
        if not (folder / name).is_dir()
    ]
    if missing:
        pytest.fail(f"weights missing in {folder}: {', '.join(missing)}; run `triptych models pull`")
    return folder


@pytest.fixture(scope="session")
def data_dir():
    """Small inputs with their licences."""
    return Path(__file__).parent / "data"
