"""Starts a stack in the background, finds it again, and stops it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from triptych.cli.stack.lock import holder
from triptych.cli.stack.plan import Plan
from triptych.cli.stack.record import StackRecord
from triptych.cli.stack.supervisor import LOCKED_EXIT_CODE
from triptych.core.errors import PreconditionFailed, TimedOut

POLL_S = 0.1


def running(state_dir: Path) -> StackRecord | None:
    """Gives the record of the stack that runs in a folder; None if none does, whatever files a dead one left."""
    pid = holder(state_dir)
    record = StackRecord.read(state_dir)
    return record if record is not None and record.supervisor_pid == pid else None


def launch(plan: Plan, timeout_s: float, on_change: Callable[[StackRecord], None]) -> StackRecord:
    """Starts a plan under a detached supervisor and waits until all is ready.

    A stack that runs in the folder already is waited for instead.

    Raises:
        PreconditionFailed: A process does not start; the message ends with the last line of its log.
        TimedOut: Not ready in time; what was started is stopped again.
    """
    pid = holder(plan.state_dir)
    spawned = pid == 0
    if spawned:
        pid = _spawn(plan)
    end = time.monotonic() + timeout_s
    seen: StackRecord | None = None
    try:
        while True:
            record = StackRecord.read(plan.state_dir)
            if record is not None and record.supervisor_pid == pid and record != seen:
                seen = record
                on_change(record)
            if seen is not None and seen.state == "ready":
                return seen
            _check_start(plan, pid if spawned else 0, seen)
            if time.monotonic() > end:
                raise _late(seen, timeout_s)
            time.sleep(POLL_S)
    except (TimedOut, KeyboardInterrupt):
        if spawned:
            stop(plan.state_dir, plan.drain_s + 30)
        raise


def _late(seen: StackRecord | None, timeout_s: float) -> TimedOut:
    waiting = [process.name for process in seen.processes if process.state != "ready"] if seen else []
    return TimedOut(f"the stack was not ready after {timeout_s:g} s: {', '.join(waiting) or 'no sign of it'}")


def _check_start(plan: Plan, spawned_pid: int, seen: StackRecord | None) -> None:
    """Raises if the supervisor is gone."""
    exit_code: int | None = None
    if spawned_pid:
        ended, status = os.waitpid(spawned_pid, os.WNOHANG)
        exit_code = os.waitstatus_to_exitcode(status) if ended else None
        if exit_code is None:
            return
    elif holder(plan.state_dir):
        return
    record = StackRecord.read(plan.state_dir)
    ours = spawned_pid or (seen.supervisor_pid if seen else 0)
    if record is not None and record.state == "failed" and record.supervisor_pid == ours:
        raise PreconditionFailed(record.reason, metadata={"hint": f"the logs are in {plan.state_dir / 'logs'}"})
    if exit_code == LOCKED_EXIT_CODE:
        raise PreconditionFailed(f"another stack runs in {plan.state_dir}", metadata={"hint": "triptych status"})
    raise PreconditionFailed(f"the supervisor ended; see {plan.state_dir / 'logs' / 'supervisor.log'}")


def _spawn(plan: Plan) -> int:
    """Starts the supervisor in a session of its own and gives its pid."""
    logs = plan.state_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    read_fd, write_fd = os.pipe()
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "triptych.cli.stack.supervisor"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read_fd, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(logs / "supervisor.log"), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(read_fd)
    with contextlib.suppress(BrokenPipeError), os.fdopen(write_fd, "w", encoding="utf-8") as pipe:
        pipe.write(plan.to_json())  # a supervisor that is gone already is noticed by our caller
    return pid


def stop(state_dir: Path, timeout_s: float) -> bool:
    """Stops the stack of a folder and waits until its last process is gone; False if none ran.

    A supervisor that does not end in time is killed; its children die with it.
    """
    pid = holder(state_dir)
    if not pid:
        return False
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + timeout_s
    while holder(state_dir) == pid:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)
    return True
