"""What the orchestrator needs of the world: to run child jobs and to look at inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import JobProgress, JobResult, JobSpec
from triptych.workers.converters.converter import Converted, Spent
from triptych.workers.reasoning.readings import Reading

T = TypeVar("T")

OnProgress = Callable[[JobProgress], Awaitable[None]]
"""Is told how far a child is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOutcome:
    """A child job that succeeded.

    Attributes:
        job: "jobs/<id>".
        result: What it gave.
        elapsed_s: From submission to result, queueing included, in seconds.
        model: Weights it used.
        cached: Whether the result came from the cache.
        digest: Of the result; empty if nobody made one.
    """

    job: str
    result: JobResult
    elapsed_s: float
    model: ModelRef = field(default_factory=ModelRef)
    cached: bool = False
    digest: str = ""


class Children(Protocol):
    """Runs child jobs on the same queues and reads inputs: the store in a worker, engines in a test."""

    async def run(self, spec: JobSpec, *, stage: str, on_progress: OnProgress | None = None) -> ChildOutcome:
        """Submits a child job and awaits it without holding a thread. Cancelling the await cancels the job.

        Args:
            spec: What to do.
            stage: Name of the orchestrator's stage, for logs and labels.
            on_progress: Told how far it is, at most a few times a second.

        Raises:
            TriptychError: The child's own error, or that it could not be submitted.
        """

    async def compute(self, unit: str, work: Callable[[], T]) -> T:
        """Runs work on foreign bytes away from the loop, as a unit of the job: should it kill its worker, it is blamed.

        Args:
            unit: Without blanks; no other of the job at the same time, and the same in the next attempt. See `unit_of`.
            work: What is to be done.

        Raises:
            WorkerLost: Workers died on it as often as is allowed.
        """

    def check(self) -> None:
        """Raises what stopped the job; long work asks now and then, since nobody can end a thread.

        Raises:
            TriptychError: It is to stop.
        """

    async def readings(self, unit: str, key: str, make: Callable[[], Sequence[Reading]]) -> Sequence[Reading]:
        """Gives what an earlier question of the tenant made of the same recognized document, else makes it.

        Args:
            unit: As `compute` takes it.
            key: Of all that they depend on; empty: they are made, and not kept.
            make: Makes them, away from the loop.

        Raises:
            WorkerLost: Workers died on it as often as is allowed.
        """

    async def convert(self, unit: str, source: InputSource, media_type: str, *, spent: Spent, depth: int) -> Converted:
        """Opens an archive, a message, an office file, a web page or a video, as a unit of the job; see `converter`.

        What is in it becomes inputs that live as long as those of the request, and a purge of the request's documents
        removes them, too.

        Raises:
            WorkerLost: Workers died on it as often as is allowed.
            TriptychError: It cannot be read.
        """

    async def media_type(self, source: InputSource) -> str:
        """Gives the IANA type of an input's bytes; "" if it is unknown.

        Raises:
            TriptychError: There are no such bytes, or they are of another type than stated.
        """

    async def digest(self, source: InputSource) -> str:
        """Gives "sha256-<64 hex>" of an input's bytes.

        Raises:
            TriptychError: There are no such bytes.
        """


def unit_of(work: str, *about: str) -> str:
    """Names a unit of a job: what is done, and to what.

    The same in every attempt, or a death would not be remembered, and without blanks, as names of units are.

    Args:
        work: What is done: "retrieval".
        about: What tells it from all else that is done so: a question, the documents that are asked.
    """
    return f"{work}:{hashlib.sha256(chr(0).join(about).encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
