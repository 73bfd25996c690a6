"""A whole stack of real processes, started as a user starts it: by `triptych up`."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from accuracy_run import vqa
from prometheus_client.parser import text_string_to_metric_families

from triptych.client import Client

UP_TIMEOUT_S = 240


class Stack:
    """A running stack and what tests do to it."""

    def __init__(self, state_dir, models_dir, models_file):
        self.state_dir = state_dir
        self.pipelines_dir = state_dir / "pipelines"
        self.env = os.environ | {
            "TRIPTYCH_MODELS_DIR": str(models_dir),
            "TRIPTYCH_MODELS_FILE": str(models_file),
            "TRIPTYCH_STATE_DIR": str(state_dir),
            "TRIPTYCH_PIPELINES_DIR": str(self.pipelines_dir),
            "TRIPTYCH_LEASE_S": "3",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }

    def run(self, *arguments, timeout_s=300):
        """Runs the command as a user does."""
        return self.python("-m", "triptych.cli", *arguments, timeout_s=timeout_s)

    def python(self, *arguments, timeout_s=300, cwd=None, **env):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, env=self.env | env, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def up(self):
        done = self.run("up", "--no-pull", "--timeout", str(UP_TIMEOUT_S))
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()

    def down(self):
        return self.run("down")

    @property
    def record(self):
        return json.loads((self.state_dir / "stack.json").read_text())

    def process(self, name):
        return next(process for process in self.record["processes"] if process["name"] == name)

    def client(self):
        return Client(self.record["target"])

    def kill(self, name):
        os.kill(self.process(name)["pid"], signal.SIGKILL)

    def until_ready(self, name, not_pid):
        """Waits until the supervisor has the process running again."""
        deadline = time.monotonic() + 120
        while (process := self.process(name))["state"] != "ready" or process["pid"] == not_pid:
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def metric(self, name, sample, **labels):
        """Gives what a process counts under a name and these labels, over all others."""
        address = self.process(name)["ready"]["metrics"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
            text = page.read().decode()
        return sum(
            one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
            if one.name == sample and labels.items() <= one.labels.items()
        )

    def batches(self, name):
        """Gives (number of batches, number of items) that a worker has run."""
        return tuple(self.metric(name, f"triptych_batch_size_{what}") for what in ("count", "sum"))

    def logs(self):
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.state_dir.glob("logs/*.log"))
        )


@pytest.fixture(scope="session")
def stack(models_dir, tmp_path_factory):
    """One stack for all end-to-end tests; each leaves it as healthy as it found it."""
    models_file = vqa.catalogue(vqa.FOLDER, tmp_path_factory.mktemp("catalogue"))
    stack = Stack(tmp_path_factory.mktemp("stack"), models_dir, models_file)
    stack.up()
    yield stack
    assert stack.down().returncode == 0


@pytest.fixture
def client(stack):
    with stack.client() as client:
        yield client
