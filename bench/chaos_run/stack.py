"""The stack under test: Redis, two services and two workers of each kind, kept alive by the suite's own supervisor."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from chaos_run.proxy import Proxy

from triptych.cli.stack import valkey
from triptych.cli.stack.lifeline import death_signal
from triptych.cli.stack.plan import Plan, ProcessSpec
from triptych.cli.stack.record import ProcessRecord, StackRecord
from triptych.core.testing import free_port

WORKERS = {"ocr": 2, "transcription": 2, "vision": 2, "reasoning": 2}
API_KEYS = {"key-of-alpha": "alpha", "key-of-beta": "beta"}
START_S = 240
DRAIN_S = 4
# Of the disk of the blobs, which is small here.
KEPT_FREE_MIB = 16
SETTINGS = {
    "TRIPTYCH_ENGINE_THREADS": "1",
    "TRIPTYCH_DRAIN_S": str(DRAIN_S),
    # Results of several pages travel as blobs, as large ones do.
    "TRIPTYCH_MAX_INLINE_RESULT_BYTES": "2048",
    # Here workers die by the dozen, and never by the fault of what they read.
    "TRIPTYCH_MAX_LOST_WORKERS": "20",
    "TRIPTYCH_HEARTBEAT_S": "5",
    "TRIPTYCH_MIN_FREE_DISK_BYTES": str(KEPT_FREE_MIB * 1024 * 1024),
    "PYTHONUNBUFFERED": "1",
}


class Stack:
    """Real processes; what lies between them goes through proxies.

    Attributes:
        redis_url: Of Redis itself, past the proxy.
        to_redis: Between the suite and Redis.
        to_services: Between callers and each service.
    """

    def __init__(self, folder: Path, blobs: Path) -> None:
        self._folder = folder
        self._blobs = blobs
        self._redis_port, ports = free_port(), [free_port(), free_port()]
        self._service_ports = ports
        self.redis_url = f"redis://:chaos@127.0.0.1:{self._redis_port}/0"
        self.to_redis = Proxy(self._redis_port)
        self.to_services = [Proxy(port) for port in ports]
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        """Address of both services, for clients."""
        return "ipv4:" + ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.to_services)

    @property
    def append_only_file(self) -> Path:
        """Folder of Redis' append-only files."""
        return self._folder / "redis" / "appendonlydir"

    async def start(self) -> None:
        """Starts everything and waits until it is ready."""
        for proxy in (self.to_redis, *self.to_services):
            await proxy.start()
        self._supervisor = self._supervised()
        deadline = time.monotonic() + START_S
        while not (record := self._record()) or record.state != "ready":
            if time.monotonic() > deadline or self._supervisor.poll() is not None:
                raise TimeoutError(f"the stack did not start: {record.reason if record else 'no sign of it'}")
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Kills all of it: what was to be seen has been seen."""
        if self._supervisor:
            self.resume(self.processes())
            # The second signal ends its patience with the others.
            for _ in range(2):
                self._supervisor.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.5)
            await asyncio.to_thread(self._supervisor.wait)
        for proxy in (self.to_redis, *self.to_services):
            await proxy.stop()

    def processes(self, prefix: str = "") -> list[ProcessRecord]:
        """Gives the processes that are ready and whose name begins so."""
        record = self._record()
        found = record.processes if record else ()
        return [process for process in found if process.state == "ready" and process.name.startswith(prefix)]

    def resume(self, processes: Iterable[ProcessRecord]) -> None:
        """Lets stopped processes go on."""
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)

    def logs(self) -> Path:
        """Gives the folder of the logs."""
        return self._folder / "logs"

    def _supervised(self) -> subprocess.Popen[bytes]:
        self.logs().mkdir(parents=True)
        with (self.logs() / "supervisor.log").open("wb") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "triptych.cli.stack.supervisor"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                preexec_fn=death_signal(),  # noqa: PLW1509 - there is no other thread yet
            )
        assert supervisor.stdin
        with supervisor.stdin as pipe:
            pipe.write(self._plan().to_json().encode())
        return supervisor

    def _record(self) -> StackRecord | None:
        return StackRecord.read(self._folder)

    def _plan(self) -> Plan:
        config = valkey.write_config(self._folder / "redis", self._redis_port, "chaos")
        with config.open("a", encoding="utf-8") as file:
            # Later lines win. Nothing that was answered may be gone after a kill, and nothing is ever summed up:
            # the file is the ledger of all that happened.
            file.write("appendfsync always\nauto-aof-rewrite-percentage 0\n")
        env = SETTINGS | {
            "TRIPTYCH_REDIS_URL": f"redis://:chaos@127.0.0.1:{self.to_redis.port}/0",
            "TRIPTYCH_STATE_DIR": str(self._folder),
            "TRIPTYCH_BLOB_DIR": str(self._blobs),
            "TRIPTYCH_API_KEYS": str(API_KEYS).replace("'", '"'),
            "TRIPTYCH_METRICS_LISTEN": "127.0.0.1:0",
        }
        server = (str(valkey.find_binary()), str(config))
        python = (sys.executable, "-m")
        processes = [ProcessSpec(name="redis", command=server, ready_url=self.redis_url)]
        for number, port in enumerate(self._service_ports, 1):
            listen = env | {"TRIPTYCH_LISTEN": f"127.0.0.1:{port}"}
            command = (*python, "triptych.services", "all")
            processes.append(ProcessSpec(name=f"service-{number}", command=command, env=listen))
        for kind, count in WORKERS.items():
            for number in range(1, count + 1):
                command = (*python, "triptych.workers", kind)
                processes.append(ProcessSpec(name=f"worker-{kind}-{number}", command=command, env=env))
        return Plan(state_dir=self._folder, processes=tuple(processes), drain_s=DRAIN_S)
