"""A deployment of real processes around a toy engine: Redis, services and workers that can be killed one by one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from triptych.client import Client
from triptych.core.settings import Settings
from triptych.core.testing import ThrowawayRedis, free_port

START_S = 60


class Process:
    """One process of the suite.

    Args:
        command: What python runs.
        env: Its variables, over ours.
        folder: Where its log goes.
        name: Of its files.
        kept: Whether it is started again whenever it dies by itself.

    Attributes:
        deaths: How often it died by itself.
        exit_codes: With what, in order.
    """

    def __init__(self, command, env, folder, name, *, kept=False):
        self._command = [sys.executable, *map(str, command)]
        self._ready_file = folder / f"{name}.ready"
        self._log = folder / f"{name}.log"
        self._env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | env
        self._kept = kept
        self._process = None
        self._ending = threading.Lock()
        self.exit_codes = []

    @property
    def deaths(self):
        return len(self.exit_codes)

    def start(self):
        """Starts it; see `until_ready`."""
        self._ready_file.unlink(missing_ok=True)
        # Only we hold the pipe's other end: when we die, it ends too.
        read_fd, self._lifeline = os.pipe()
        env = self._env | {"TRIPTYCH_READY_FILE": str(self._ready_file), "TRIPTYCH_PARENT_FD": str(read_fd)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(read_fd,)
            )
        os.close(read_fd)
        if self._kept:
            threading.Thread(target=self._keep, args=(self._process,), daemon=True).start()
        return self

    def until_ready(self):
        """Waits until it serves; gives what it then told."""
        deadline = time.monotonic() + START_S
        while not self._ready_file.exists():
            assert time.monotonic() < deadline, f"not ready: {self.last_words()}"
            time.sleep(0.02)
        return json.loads(self._ready_file.read_text())

    @property
    def pid(self):
        return self._process.pid

    def kill(self):
        """Kills it as a power cut would."""
        return self._end(signal.SIGKILL)

    def stop(self):
        """Lets it drain; gives its exit code."""
        return self._end(signal.SIGTERM)

    def signal(self, number):
        """Sends a signal, such as SIGSTOP."""
        self._process.send_signal(number)

    def last_words(self):
        return self._log.read_text()[-2000:]

    def _end(self, number):
        with self._ending:
            process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        code = process.wait(START_S)
        os.close(self._lifeline)
        return code

    def _keep(self, process):
        code = process.wait()
        with self._ending:
            if self._process is not process:
                return
            self.exit_codes.append(code)
            os.close(self._lifeline)
            self.start()


class ToyStack:
    """Redis, services and toy workers on loopback ports; a context manager.

    Args:
        folder: For logs and blobs.
        services: How many.
        workers: How many; each is started again when it dies.
        orchestrators: How many; nobody starts them again.
        tenants: Names, which are also their keys. None: nobody is asked for a key.
        env: TOY_* and TRIPTYCH_* variables.
    """

    def __init__(self, folder, *, services=1, workers=1, orchestrators=0, tenants=("alpha", "beta", "gamma"), **env):
        self.redis = ThrowawayRedis()
        self._folder = Path(folder)
        self._pages = self._folder / "pages.jsonl"
        self._env = {
            "TRIPTYCH_REDIS_URL": self.redis.url,
            "TRIPTYCH_STATE_DIR": str(folder),
            "TRIPTYCH_API_KEYS": json.dumps({tenant: tenant for tenant in tenants}),
            "TOY_LOG": str(self._pages),
        } | {name: str(value) for name, value in env.items()}
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(services)]
        self.services = [self._service(number) for number in range(services)]
        self.workers = [self._worker(number) for number in range(workers)]
        self.orchestrators = [self._orchestrator(number) for number in range(orchestrators)]

    @property
    def target(self):
        """All services, for one client."""
        return f"ipv4:{','.join(self.addresses)}"

    def __enter__(self):
        try:
            self.redis.start()
            processes = [process.start() for process in self._processes]
            for process in processes:
                process.until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.kill()
        self.redis.close()

    def client(self, tenant):
        """A client of all services."""
        return Client(self.target, api_key=tenant)

    @property
    def settings(self):
        """What its processes have for settings."""
        return Settings(_env_file=None, redis_url=self.redis.url, state_dir=self._folder)

    def batches(self):
        """Gives what the toy engines ran, in order: dicts of pid, at_s and words."""
        return [json.loads(line) for line in self._pages.read_text().splitlines()] if self._pages.exists() else []

    @property
    def _processes(self):
        return *self.services, *self.workers, *self.orchestrators

    def _service(self, number):
        command = ("-m", "triptych.services", "all", "--listen", self.addresses[number])
        return Process(command, self._env, self._folder, f"service-{number}")

    def _worker(self, number):
        command = (Path(__file__).with_name("toy_worker.py"), "ocr")
        return Process(command, self._env, self._folder, f"worker-{number}", kept=True)

    def _orchestrator(self, number):
        return Process(("-m", "triptych.workers", "reasoning"), self._env, self._folder, f"orchestrator-{number}")


def until(condition, timeout_s=60):
    """Waits until a condition holds; gives what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return found
