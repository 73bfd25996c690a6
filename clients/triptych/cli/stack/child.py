"""One process of the stack: started, watched until it is ready, started again when it dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triptych.cli.stack.lifeline import Lifeline
from triptych.cli.stack.plan import ProcessSpec
from triptych.cli.stack.record import ProcessRecord, ProcessState
from triptych.cli.stack.valkey import answers

MAX_LOG_BYTES = 20 * 1024 * 1024
STEADY_S = 60.0
"""A process that ran this long has left its earlier crashes behind, in seconds."""


class Child:
    """Keeps one process alive.

    Args:
        spec: What to run.
        state_dir: Where its log and its ready file go.
        lifeline: What ends it with us.
        in_child: Runs in the new process before its program.
    """

    def __init__(
        self, spec: ProcessSpec, state_dir: Path, lifeline: Lifeline, in_child: Callable[[], None] | None
    ) -> None:
        self.spec = spec
        self.state: ProcessState = "waiting"
        self.early_deaths = 0
        """Deaths in a row before it was ready."""
        self._lifeline = lifeline
        self._in_child = in_child
        self._log = state_dir / "logs" / f"{spec.name}.log"
        self._ready_file = state_dir / "run" / f"{spec.name}.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._started_s = 0.0
        self._deaths = 0
        self._restarts = 0
        self._next_start_s = 0.0
        self._exit_code: int | None = None
        self._ready: dict[str, Any] = {}

    @property
    def record(self) -> ProcessRecord:
        """How it is now."""
        return ProcessRecord(
            name=self.spec.name,
            state=self.state,
            log=str(self._log),
            pid=self._process.pid if self._process else 0,
            started_at=self._started_at,
            restarts=self._restarts,
            exit_code=self._exit_code,
            ready=self._ready,
        )

    def start(self) -> None:
        """Starts it."""
        self._ready_file.unlink(missing_ok=True)
        if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        env = os.environ | {
            **self.spec.env,
            "TRIPTYCH_READY_FILE": str(self._ready_file),
            "TRIPTYCH_PARENT_FD": str(self._lifeline.read_fd),
        }
        self.state = "starting"
        self._started_at, self._started_s = time.time(), time.monotonic()
        try:
            self._process = self._spawn(env)
        except OSError as error:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(f"{error}\n")
            self._died(exit_code=127)
        else:
            self._lifeline.add(self._process.pid)

    def _spawn(self, env: dict[str, str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the plan is our own
                self.spec.command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._lifeline.read_fd,),
                # A group of its own: a terminal's Ctrl-C reaches only the supervisor, and a stop reaches grandchildren.
                process_group=0,
                preexec_fn=self._in_child,  # noqa: PLW1509 - the supervisor has one thread
            )

    def advance(self, prerequisites_ready: bool) -> None:
        """Takes note of its death, starts it when it is time, asks whether it is ready."""
        self._notice_death()
        if self.state == "waiting" and prerequisites_ready:
            self.start()
        elif self.state == "backoff" and prerequisites_ready and time.monotonic() >= self._next_start_s:
            self._restarts += 1
            self.start()
        elif self.state == "starting" and self._is_ready():
            self.state = "ready"
            self.early_deaths = 0

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Asks it to end, or with SIGKILL ends it."""
        if self._process is not None:
            self.state = "stopping"
            self._process.send_signal(number)

    def reap(self) -> bool:
        """Whether it is gone, after `terminate`."""
        self._notice_death()
        if self._process is None:
            self.state = "stopped"
        return self._process is None

    def last_words(self) -> str:
        """Gives the last line of its log; of a JSON line the message only."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
        try:
            said = json.loads(last)
        except ValueError:
            said = None
        return str(said["message"] if isinstance(said, dict) and "message" in said else last)[:300]

    def _notice_death(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._lifeline.remove(self._process.pid)
            self._died(exit_code=self._process.returncode)

    def _died(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._process = None
        if self.state == "starting":
            self.early_deaths += 1
        self._deaths = 1 if time.monotonic() - self._started_s > STEADY_S else self._deaths + 1
        self._next_start_s = time.monotonic() + min(30.0, 0.25 * 2.0**self._deaths)
        self.state = "backoff"
        self._ready = {}

    def _is_ready(self) -> bool:
        if self.spec.ready_url:
            return answers(self.spec.ready_url)
        try:
            said = json.loads(self._ready_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # not there yet, or half written
            return False
        if self._process is None or said.get("pid") != self._process.pid:
            return False
        self._ready = said
        return True
