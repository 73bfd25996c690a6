"""What a flow asks its client to do next: a call, a stream, some blocking work or a pause.

A flow is a generator that yields steps and returns a result. It holds everything that is hard (retries, resuming,
paging) once; `Client` runs the steps blocking, `AsyncClient` awaits them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

QUICK_S = 30.0
"""Deadline of calls that wait for nothing, in seconds."""

ReplyT = TypeVar("ReplyT", bound=Message)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call with one answer; a request of several messages is streamed."""

    service: str
    method: str
    request: Message | Iterable[Message]
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One call with many answers; each is given to `sink`."""

    service: str
    method: str
    request: Message
    sink: Callable[[Any], None]
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something that blocks for a while without the network: reading and hashing a file."""

    run: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Time to let the other side recover, in seconds."""

    seconds: float


Step = Call | Stream | Work | Pause
Flow = Generator[Step, Any, ResultT]


def call(
    service: str, method: str, request: Message | Iterable[Message], reply: type[ReplyT], timeout_s: float = QUICK_S
) -> Flow[ReplyT]:
    """Makes one call.

    Raises:
        TriptychError: What the server said, as the class of `triptych.core.errors`.
    """
    answer = yield Call(service=service, method=method, request=request, timeout_s=timeout_s)
    assert isinstance(answer, reply)
    return answer


def work(run: Callable[[], ResultT]) -> Flow[ResultT]:
    """Runs something that blocks, away from the event loop."""
    result: ResultT = yield Work(run=run)
    return result


def backoff_s(failures: int) -> float:
    """Gives the pause after this many failures in a row, in seconds: 0.2, 0.4, ... at most 5."""
    return min(5.0, 0.1 * 2.0**failures)
