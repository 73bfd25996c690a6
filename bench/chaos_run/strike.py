"""One fault that happened."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Strike:
    """One fault that happened.

    Attributes:
        ended_pid: Of the process that will not come back.
        began_s: Unix time.
        ended_s: When it was taken back; what it caused may take longer.
        recovered_s: When all was well again: who was struck is ready, and a caller was answered; 0: never.
        held: Job id -> attempt, of the jobs that a killed worker held.
    """

    fault: str
    target: str = ""
    ended_pid: int = 0
    began_s: float = field(default_factory=time.time)
    ended_s: float = 0.0
    recovered_s: float = 0.0
    held: dict[str, int] = field(default_factory=dict)
