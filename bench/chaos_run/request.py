"""What one caller wanted and was told."""

import time
import uuid
from dataclasses import dataclass, field

from chaos_run.samples import Sample

from triptych.core.errors import TriptychError
from triptych.v1.job_pb2 import JobEvent, JobOptions

LABEL = "chaos"
# Reasons with which a job may end because its caller wanted it so.
_EXCUSES = {
    "cancel": {"JOB_CANCELLED"},
    # One who loses the connection counts as gone, and calls again.
    "call": {"JOB_CANCELLED", "CALL_TIMEOUT"},
    "hurry": {"JOB_CANCELLED", "CALL_TIMEOUT", "EXECUTION_TIMEOUT"},
    "late": {"QUEUE_TIMEOUT"},
    "brief": {"EXECUTION_TIMEOUT"},
}


@dataclass(frozen=True, slots=True)
class Told:
    """An error that a caller was told, and when (Unix time)."""

    error: TriptychError
    at_s: float = field(default_factory=time.time)


@dataclass(slots=True, kw_only=True)
class Request:
    """What one caller wanted and was told.

    Attributes:
        number: Also the job's label, by which it is found again.
        excuses: Reasons of errors with which its job may end.
        names: Jobs that the caller was told.
        told: Errors of its calls.
        watched: Events as its watch gave them, broken and resumed.
        cancelled_s: When it asked for cancellation, Unix time.
        wrong: What was wrong with an answer.
    """

    number: int
    tenant: str
    mode: str
    sample: Sample
    options: JobOptions
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    names: set[str] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    watched: list[JobEvent] = field(default_factory=list)
    cancelled_s: float = 0.0
    wrong: str = ""

    @property
    def excuses(self) -> set[str]:
        """Reasons with which its job may end."""
        return _EXCUSES.get(self.mode, set())
