"""What all tests share: a real Redis, the weights, the small inputs that travel with the repository."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import hypothesis
import pytest
import redis

from triptych.core.settings import Settings
from triptych.core.testing import ThrowawayRedis


def pytest_configure(config):
    # As in a worker: see triptych.workers.__main__.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Settings of the developer's shell or .env must not leak into tests.
    keep = {"TRIPTYCH_MODELS_DIR"}
    for name in [name for name in os.environ if name.startswith("TRIPTYCH_") and name not in keep]:
        del os.environ[name]
    # A busy machine is slow; no test says how long an example may take.
    hypothesis.settings.register_profile("unhurried", parent=hypothesis.settings(), deadline=None)
    hypothesis.settings.load_profile("unhurried")
    # A shell that starts the tests in the background has them ignore Ctrl-C, and all that they start.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


class SmallDisk:
    """A real file system of 4 MiB."""

    def __init__(self, path):
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, leave_bytes=0):
        """Leaves so much of it."""
        self.clear()
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.path).free - leave_bytes)

    def clear(self):
        """Takes back what `fill` did."""
        self._ballast.unlink(missing_ok=True)

    def halves(self):
        """Gives the files that were begun and never finished."""
        return [path for path in self.path.rglob("*") if path.suffix == ".part"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system that can be filled without harm."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder))
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        missing = f"no tmpfs can be mounted here, that needs root on Linux: {done.stderr.strip()}"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    yield SmallDisk(folder)
    # Lazily: a file that is still open must not keep it.
    subprocess.run(("umount", "--lazy", str(folder)), check=True)


@pytest.fixture
def redis_used(redis_url):
    """Says which share of its memory Redis uses: over 1 it takes no writes, at 0 there is no `maxmemory`."""
    with redis.Redis.from_url(redis_url) as admin:

        def use(share):
            admin.config_set("maxmemory", int(admin.info("memory")["used_memory"] / share) if share else 0)

        yield use
        use(0)


@pytest.fixture(scope="session")
def models_dir():
    """Folder of the embedded weights. A missing model fails the test: `make test` pulls them."""
    folder = Settings(_env_file=None).models_dir
    missing = [
        name
        for name in (
            "whisper-base",
            "campplus-zh-en",
            "pp-ocrv6-small",
            "picodet-cdla",
            "slanet-plus",
            "qwen2.5-coder-0.5b-instruct",
        )
        if not (folder / name).is_dir()
    ]
    if missing:
        pytest.fail(f"weights missing in {folder}: {', '.join(missing)}; run `make weights`")
    return folder


@pytest.fixture(scope="session")
def data_dir():
    """Small inputs with their licences."""
    return Path(__file__).parent / "data"
