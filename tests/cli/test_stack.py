"""The stack with real processes: it starts, restarts and ends them all, whatever kills it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from triptych.cli.stack import valkey
from triptych.cli.stack.launcher import launch, running, stop
from triptych.cli.stack.layout import embedded_plan, listen_address
from triptych.cli.stack.lock import holder
from triptych.cli.stack.plan import Plan, ProcessSpec
from triptych.cli.stack.ports import free_port
from triptych.cli.stack.record import StackRecord
from triptych.core.errors import PreconditionFailed, TimedOut
from triptych.core.settings import Settings

STANDIN = str(Path(__file__).with_name("standin_process.py"))


def standin(name: str, *args: str, after: tuple[str, ...] = ()) -> ProcessSpec:
    return ProcessSpec(name=name, command=(sys.executable, "-S", STANDIN, *args), after=after)


def redis(folder: Path) -> ProcessSpec:
    port, password = free_port(), "secret"
    config = valkey.write_config(folder / "redis", port, password)
    return ProcessSpec(
        name="redis",
        command=(str(valkey.find_binary()), str(config)),
        ready_url=f"redis://:{password}@127.0.0.1:{port}/0",
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(holds: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def pids(record: StackRecord) -> dict[str, int]:
    return {process.name: process.pid for process in record.processes}


def command(url: str, *words: str) -> bytes:
    """Sends one command to the stack's own Redis-protocol server."""
    password, _, address = url.removeprefix("redis://:").removesuffix("/0").partition("@")
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        for line in (f"AUTH {password}", " ".join(words)):
            connection.sendall(line.encode() + b"\r\n")
            reply = connection.recv(4096)
    return reply


Start = Callable[..., StackRecord]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    folders: list[Path] = []

    def go(*processes: ProcessSpec, folder: Path = tmp_path, timeout_s: float = 30, drain_s: float = 5) -> StackRecord:
        folders.append(folder)
        folder.mkdir(exist_ok=True)
        plan = Plan(state_dir=folder, processes=processes, drain_s=drain_s)
        return launch(plan, timeout_s, lambda _record: None)

    yield go
    for folder in folders:
        stop(folder, 20)


def test_a_stack_gets_ready_in_order_and_says_where_it_listens(start: Start, tmp_path: Path) -> None:
    record = start(redis(tmp_path), standin("services", "serve", "127.0.0.1:4711", after=("redis",)))
    assert record.state == "ready"
    assert record.target == "127.0.0.1:4711"
    first, second = record.processes
    assert first.started_at < second.started_at
    assert running(tmp_path) == record
    assert StackRecord.path(tmp_path).stat().st_mode & 0o077 == 0


def test_down_leaves_no_process_and_stops_the_server_last(start: Start, tmp_path: Path) -> None:
    record = start(redis(tmp_path), standin("services", after=("redis",)))
    assert stop(tmp_path, 20)
    assert not any(alive(pid) for pid in pids(record).values())
    assert running(tmp_path) is None
    assert "got SIGTERM" in (tmp_path / "logs" / "services.log").read_text()
    assert "User requested shutdown" in (tmp_path / "logs" / "redis.log").read_text()
    assert not stop(tmp_path, 1)


def test_killing_the_supervisor_kills_everything_it_started(start: Start, tmp_path: Path) -> None:
    grandchild = tmp_path / "grandchild"
    record = start(redis(tmp_path), standin("services", "with-child", str(grandchild), after=("redis",)))
    os.kill(record.supervisor_pid, signal.SIGKILL)
    everyone = [*pids(record).values(), int(grandchild.read_text())]
    eventually(lambda: not any(alive(pid) for pid in everyone))
    assert holder(tmp_path) == 0


def test_a_stack_whose_folder_is_deleted_ends(start: Start, tmp_path: Path) -> None:
    record = start(standin("services"), folder=tmp_path / "state")
    shutil.rmtree(tmp_path / "state")
    everyone = [record.supervisor_pid, *pids(record).values()]
    eventually(lambda: not any(map(alive, everyone)))
    assert not any(map(alive, everyone))


def test_a_stack_starts_where_a_killed_one_left_its_files(start: Start, tmp_path: Path) -> None:
    first = start(standin("services"))
    os.kill(first.supervisor_pid, signal.SIGKILL)
    eventually(lambda: not holder(tmp_path))
    assert StackRecord.path(tmp_path).exists()
    assert running(tmp_path) is None
    assert start(standin("services")).supervisor_pid != first.supervisor_pid


def test_two_stacks_run_side_by_side(start: Start, tmp_path: Path) -> None:
    one = start(redis(tmp_path / "one"), folder=tmp_path / "one")
    two = start(redis(tmp_path / "two"), folder=tmp_path / "two")
    stop(tmp_path / "one", 20)
    assert not alive(one.processes[0].pid)
    assert alive(two.processes[0].pid)
    assert running(tmp_path / "two") == two


def test_a_second_start_in_one_folder_finds_the_first(start: Start) -> None:
    assert start(standin("services")) == start(standin("other"))


def test_a_restart_keeps_what_the_server_held(start: Start, tmp_path: Path) -> None:
    first = redis(tmp_path)
    start(first)
    assert command(first.ready_url, "SET", "job", "kept").startswith(b"+OK")
    stop(tmp_path, 20)
    second = redis(tmp_path)
    start(second)
    assert b"kept" in command(second.ready_url, "GET", "job")


def test_what_a_killed_server_was_told_is_there_after_its_restart(start: Start, tmp_path: Path) -> None:
    spec = redis(tmp_path)
    record = start(spec)
    command(spec.ready_url, "SET", "job", "kept")
    # The append-only file is synced every second; the process may be killed, the kernel has the bytes.
    os.kill(record.processes[0].pid, signal.SIGKILL)
    eventually(lambda: (now := running(tmp_path)) and now.processes[0].restarts == 1 and now.processes[0].pid)
    eventually(lambda: valkey.answers(spec.ready_url))
    assert b"kept" in command(spec.ready_url, "GET", "job")


def test_a_process_that_crashes_is_started_again(start: Start, tmp_path: Path) -> None:
    record = start(standin("services", "crash-once", str(tmp_path / "marker")))
    assert record.processes[0].restarts == 1
    assert record.processes[0].exit_code == 1
    os.kill(record.processes[0].pid, signal.SIGKILL)

    def is_back() -> bool:
        now = running(tmp_path)
        return now is not None and now.processes[0].restarts == 2 and now.processes[0].state == "ready"

    eventually(is_back)


def test_a_process_that_never_starts_ends_the_start_with_its_log(start: Start, tmp_path: Path) -> None:
    with pytest.raises(PreconditionFailed, match="no such device"):
        start(standin("good"), standin("bad", "crash"))
    eventually(lambda: not holder(tmp_path))


def test_of_a_last_line_in_json_the_message_is_told(start: Start) -> None:
    with pytest.raises(PreconditionFailed, match=r"bad does not start: cannot start: no weights$"):
        start(standin("bad", "crash-json"))


def test_a_program_that_is_not_there_ends_the_start(start: Start) -> None:
    with pytest.raises(PreconditionFailed, match="No such file"):
        start(ProcessSpec(name="ghost", command=("/nonexistent/program",)))


def test_a_start_that_takes_too_long_is_undone(start: Start, tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match="slow"):
        start(standin("slow", "never-ready"), timeout_s=1)
    assert not holder(tmp_path)


def test_a_process_that_ignores_sigterm_is_killed_after_the_drain(start: Start, tmp_path: Path) -> None:
    record = start(standin("services", "stubborn"), drain_s=-4.5)
    stop(tmp_path, 30)
    assert not alive(record.processes[0].pid)


def test_a_killed_guard_comes_back(start: Start, tmp_path: Path) -> None:
    grandchild = tmp_path / "grandchild"
    record = start(standin("services", "with-child", str(grandchild)))

    def guards() -> list[int]:
        mine = Path(f"/proc/{record.supervisor_pid}/task/{record.supervisor_pid}/children").read_text().split()
        return [int(pid) for pid in mine if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    (guard,) = guards()
    os.kill(guard, signal.SIGKILL)
    eventually(lambda: guards() not in ([], [guard]))
    os.kill(record.supervisor_pid, signal.SIGKILL)
    eventually(lambda: not alive(int(grandchild.read_text())))
    assert not alive(int(grandchild.read_text()))


def test_a_taken_port_is_left_to_its_owner(tmp_path: Path) -> None:
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        taken = f"127.0.0.1:{owner.getsockname()[1]}"
        default = Settings.model_construct(_fields_set=set(), listen=taken)
        assert listen_address(default) != taken
        assert listen_address(default).startswith("127.0.0.1:")
        assert listen_address(Settings(listen=taken)) == taken


def test_the_embedded_plan_starts_a_server_only_if_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRIPTYCH_REDIS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    own = embedded_plan(Settings(state_dir=tmp_path))
    assert [process.name for process in own.processes][:2] == ["redis", "services"]
    assert Plan.from_json(own.to_json()) == own
    named = embedded_plan(Settings(state_dir=tmp_path, redis_url="redis://elsewhere/0"))
    assert next(process.name for process in named.processes) == "services"
    assert named.processes[0].env["TRIPTYCH_REDIS_URL"] == "redis://elsewhere/0"
