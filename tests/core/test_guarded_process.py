"""A guarded process: what it may not do, and what its caller is told."""

import asyncio
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from triptych.core.errors import FieldInvalid, InputTooLarge, InternalError, MediaCorrupt
from triptych.core.guarded_process import Limits, run_guarded

LIMITS = Limits(memory_bytes=1 << 30, cpu_s=20, wall_s=20, file_bytes=1 << 20)


def look(output):
    """Writes what the child sees of its surroundings."""
    told = (sorted(os.environ.items()), resource.getrlimit(resource.RLIMIT_CORE)[0], os.getpid())
    Path(output).write_text(repr(told))


def refuse():
    raise FieldInvalid("document", "is of no use")


def fail():
    raise RuntimeError("a secret of the trace")


def hoard():
    kept = []
    while True:
        kept.append(bytes(64 << 20))


def compute():
    while True:
        pass


def sleep(output):
    Path(output).write_text(str(os.getpid()))
    time.sleep(600)


def flood(output):
    Path(output).write_bytes(bytes(2 << 20))


def babble():
    """As C libraries do about a broken file."""
    for stream in (1, 2):
        os.write(stream, b"noise" * 100_000)
    raise FieldInvalid("document", "is of no use")


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


async def run(function, limits=LIMITS, **arguments):
    await run_guarded(f"core.test_guarded_process:{function.__name__}", arguments, limits)


async def test_it_sees_no_secrets_of_its_parent(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIPTYCH_API_KEYS", '{"hidden": "tenant"}')
    monkeypatch.setenv("SOME_NAME", "hidden")
    await run(look, output=str(tmp_path / "told"))
    told = (tmp_path / "told").read_text()
    assert "hidden" not in told
    assert "TRIPTYCH_" not in told
    assert f", 0, {os.getpid()}" not in told
    assert "PYTHONPATH" in told


async def test_what_it_raises_is_raised():
    with pytest.raises(FieldInvalid, match="document: is of no use") as caught:
        await run(refuse)
    assert caught.value.metadata == {"field": "document"}


async def test_what_libraries_print_is_no_part_of_it():
    with pytest.raises(FieldInvalid, match="document: is of no use"):
        await run(babble)


async def test_a_bug_stays_in_the_log(caplog):
    with pytest.raises(InternalError) as caught:
        await run(fail)
    assert "secret" not in str(caught.value)
    assert "a secret of the trace" in caplog.text


@pytest.mark.parametrize(
    ("function", "changes"),
    [(hoard, {}), (compute, {"cpu_s": 1}), (compute, {"wall_s": 1})],
)
async def test_it_has_bounds(function, changes):
    bounds = {"memory_bytes": 1 << 30, "cpu_s": 20, "wall_s": 20, "file_bytes": 1 << 20, **changes}
    with pytest.raises(InputTooLarge):
        await run(function, Limits(**bounds))


async def test_its_files_have_bounds(tmp_path):
    with pytest.raises(InputTooLarge):
        await run(flood, output=str(tmp_path / "flood"))


async def test_a_crash_is_the_file_s_fault():
    with pytest.raises(MediaCorrupt, match="SIGSEGV"):
        await run(crash)


async def test_it_ends_with_the_call_that_wanted_it(tmp_path):
    path = tmp_path / "pid"
    call = asyncio.create_task(run(sleep, output=str(path)))
    while not (path.exists() and path.read_text()):  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)
