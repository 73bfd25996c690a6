"""Runs one operation against Redis, blocking or awaited."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.resources
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from triptych.core.errors import BackendUnavailable

T = TypeVar("T")
Argument = bytes | str | int | float

PREFIX = "triptych:"
# What means "Redis is away", as opposed to a bug of ours.
AWAY = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError, OSError)
# Refusals that pass by themselves, or when the operator acts: a full disk, a failover, a script that hogs the server.
_REFUSALS = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "BUSY ", "UNKILLABLE")


def _script(name: str) -> str:
    folder = importlib.resources.files("triptych.core") / "lua"
    prelude = ("_now", "_queue", "_outbox", "_end", "_requeue", "_derived", "_spending")
    return "\n".join((folder / f"{part}.lua").read_text() for part in (*prelude, name))


@dataclass(frozen=True, slots=True)
class Op(Generic[T]):
    """One atomic operation: what to send and how to read the answer. The same for blocking and awaiting callers."""

    command: tuple[Argument, ...]
    parse: Callable[[Any], T]
    script: str = ""


class Script:
    """A Lua script that makes operations. Each runs whole or not at all."""

    def __init__(self, name: str) -> None:
        self._text = _script(name)
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, parse: Callable[[Any], T], *args: Argument) -> Op[T]:
        """Makes the operation of this script with these arguments (after the key prefix)."""
        return Op(("EVALSHA", self._sha, 0, PREFIX, *args), parse, self._text)


def _raise_outage(error: Exception) -> None:
    """Raises BackendUnavailable for an error of redis-py, unless it is a mistake of ours."""
    if isinstance(error, AWAY) or str(error).startswith(_REFUSALS):
        message = f"the job store cannot be reached ({type(error).__name__})"
        raise BackendUnavailable(message, retry_after_s=1) from error


class Store:
    """Blocking side, for workers. Thread-safe."""

    def __init__(self, url: str) -> None:
        # An explicit timeout: redis-py's default of 5 s with silent retries would hide an outage for a minute.
        self.redis = redis.Redis.from_url(
            url, socket_timeout=5, socket_connect_timeout=2, retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 2)
        )

    def run(self, op: Op[T]) -> T:
        """Runs one operation.

        Raises:
            BackendUnavailable: Redis cannot be reached.
        """
        try:
            try:
                answer = self.redis.execute_command(*op.command)  # type: ignore[no-untyped-call]
            except NoScriptError:
                answer = self.redis.execute_command("EVAL", op.script, *op.command[2:])  # type: ignore[no-untyped-call]
        except (*AWAY, ResponseError) as error:
            _raise_outage(error)
            raise
        return op.parse(answer)

    def run_all(self, ops: Sequence[Op[T]]) -> list[T]:
        """Runs operations in one round trip, each atomic by itself."""
        return [self.run(op) for op in ops] if len(ops) < 2 else self._pipelined(ops)

    def _pipelined(self, ops: Sequence[Op[T]]) -> list[T]:
        try:
            pipeline = self.redis.pipeline(transaction=False)
            for op in ops:
                pipeline.execute_command(*op.command)  # type: ignore[no-untyped-call]
            answers = pipeline.execute(raise_on_error=False)
        except AWAY as error:
            _raise_outage(error)
            raise
        return [
            self.run(op) if isinstance(answer, NoScriptError) else op.parse(_raise(answer))
            for op, answer in zip(ops, answers, strict=True)
        ]

    def close(self) -> None:
        """Closes the connections."""
        self.redis.close()


def keys(store: Store, pattern: str) -> Iterator[str]:
    """Yields all keys that match a pattern; one that comes or goes meanwhile may be missed."""
    cursor = 0
    while True:
        scan: Op[tuple[int, list[bytes]]] = Op(("SCAN", cursor, "MATCH", pattern, "COUNT", 1000), lambda answer: answer)
        cursor, found = store.run(scan)
        yield from (key.decode() for key in found)
        if cursor == 0:
            return


def _raise(answer: Any) -> Any:
    if isinstance(answer, Exception):
        _raise_outage(answer)
        raise answer
    return answer


@contextmanager
def heeded_cancellation() -> Iterator[None]:
    """Raises the cancellation that came inside the block and was lost there.

    redis-py loses one that comes while it connects (seen with 8.1 on Python 3.11): the call goes on, and with it a task
    that its owner believes to be ending.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


class AsyncStore:
    """Awaiting side, for services and the orchestrator. Bound to one event loop."""

    def __init__(self, url: str) -> None:
        self.redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=5,
            socket_connect_timeout=2,
            # Somebody waits for the answer: a server that says nothing is asked once.
            retry=AsyncRetry(ExponentialBackoff(cap=0.2, base=0.02), 2, (RedisConnectionError,)),
        )

    async def run(self, op: Op[T]) -> T:
        """Runs one operation.

        Raises:
            BackendUnavailable: Redis cannot be reached.
        """
        with heeded_cancellation():
            answer = await self._answer(op)
        return op.parse(answer)

    async def _answer(self, op: Op[T]) -> Any:
        try:
            try:
                return await self.redis.execute_command(*op.command)  # type: ignore[no-untyped-call]
            except NoScriptError:
                return await self.redis.execute_command("EVAL", op.script, *op.command[2:])  # type: ignore[no-untyped-call]
        except (*AWAY, ResponseError) as error:
            _raise_outage(error)
            raise

    async def close(self) -> None:
        """Closes the connections."""
        await self.redis.aclose()
