"""The one process that owns a stack: it starts the others, keeps them alive, and ends them all."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from triptych.cli.stack.child import Child
from triptych.cli.stack.lifeline import Lifeline, death_signal
from triptych.cli.stack.lock import StackLock
from triptych.cli.stack.plan import Plan
from triptych.cli.stack.record import StackRecord, StackState
from triptych.core.errors import PreconditionFailed

MAX_EARLY_DEATHS = 3
"""A process that dies so often before it is ready for the first time makes the start fail."""
LOCKED_EXIT_CODE = 75


class Supervisor:
    """Runs a plan until a signal ends it.

    Args:
        plan: What to run.
        on_change: Is told each new record, after it was written.
    """

    def __init__(self, plan: Plan, on_change: Callable[[StackRecord], None] | None = None) -> None:
        self._plan = plan
        self._on_change = on_change
        self._state: StackState = "starting"
        self._reason = ""
        self._written: StackRecord | None = None
        self._stop_signals = 0
        self._wake_read, self._wake_write = os.pipe()
        self._lock = StackLock(plan.state_dir)

    def run(self) -> int:
        """Runs the stack; gives the exit code: 0 after a stop, 1 if it could not be started.

        Raises:
            PreconditionFailed: Another stack runs in this folder.
        """
        state_dir = self._plan.state_dir
        for folder in (state_dir, state_dir / "logs", state_dir / "run"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            StackRecord.path(state_dir).unlink(missing_ok=True)
            self._listen_to_signals()
            lifeline = Lifeline()
            in_child = death_signal()
            self._children = [Child(spec, state_dir, lifeline, in_child) for spec in self._plan.processes]
            try:
                self._keep_alive(lifeline)
            finally:
                self._shut_down()
                lifeline.close()
            if self._state != "failed" and self._lock.in_place():
                StackRecord.path(state_dir).unlink(missing_ok=True)
        return 1 if self._state == "failed" else 0

    def _listen_to_signals(self) -> None:
        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stop_signals += 1

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # it only has to wake `_wait`
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def _wait(self, seconds: float) -> None:
        """Sleeps until a signal comes (a child's death is one), or the time is over."""
        if select.select([self._wake_read], [], [], seconds)[0]:
            os.read(self._wake_read, 4096)

    def _keep_alive(self, lifeline: Lifeline) -> None:
        # Without its folder nobody could find the stack any more to stop it.
        while not self._stop_signals and self._lock.in_place():
            lifeline.check()
            ready = {child.spec.name for child in self._children if child.state == "ready"}
            for child in self._children:
                child.advance(ready.issuperset(child.spec.after))
            if self._state == "starting":
                doomed = [child for child in self._children if child.early_deaths >= MAX_EARLY_DEATHS]
                if doomed:
                    self._state = "failed"
                    self._reason = f"{doomed[0].spec.name} does not start: {doomed[0].last_words()}"
                    break
                if all(child.state == "ready" for child in self._children):
                    self._state = "ready"
            self._write()
            starting = any(child.state != "ready" for child in self._children)
            self._wait(0.05 if starting else 1.0)

    def _shut_down(self) -> None:
        """Ends all: those first on which nobody depends; a second signal ends the patience."""
        if self._state != "failed":
            self._state = "stopping"
        self._write()
        while alive := [child for child in self._children if not child.reap()]:
            needed = {name for child in alive for name in child.spec.after}
            wave = [child for child in alive if child.spec.name not in needed]
            for child in wave:
                child.terminate()
            self._write()
            # A little more than the process itself takes to drain.
            end = time.monotonic() + self._plan.drain_s + 5
            signals = self._stop_signals
            while [child for child in wave if not child.reap()]:
                if time.monotonic() > end or self._stop_signals > signals:
                    for child in wave:
                        child.terminate(signal.SIGKILL)
                self._wait(0.2)
        self._write()

    def _write(self) -> None:
        if not self._lock.in_place():
            return  # the folder is gone, or another stack's by now
        processes = tuple(child.record for child in self._children)
        addresses = [process.ready["address"] for process in processes if "address" in process.ready]
        record = StackRecord(
            supervisor_pid=os.getpid(),
            state=self._state,
            processes=processes,
            target=addresses[0] if addresses else (self._written.target if self._written else ""),
            redis_url=self._plan.redis_url,
            reason=self._reason,
        )
        if record != self._written:
            record.write(self._plan.state_dir)
            self._written = record
            if self._on_change is not None:
                self._on_change(record)


def main() -> None:
    """Runs the plan that comes on standard input."""
    plan = Plan.from_json(sys.stdin.read())
    try:
        code = Supervisor(plan).run()
    except PreconditionFailed as error:
        print(error.message, file=sys.stderr)  # noqa: T201 - the log
        code = LOCKED_EXIT_CODE
    sys.exit(code)


if __name__ == "__main__":
    main()
