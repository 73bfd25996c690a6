"""How long a call may wait so that its answer still arrives in time."""

from __future__ import annotations

from typing import Any

# The way back to the caller.
EARLY_S = 0.5


def patience_s(context: Any, most_s: float | None = None) -> float | None:
    """Gives the seconds until an answer has to leave: 500 ms before the deadline, or before half of a shorter one.

    Args:
        context: The call's context.
        most_s: Never longer than this; None: as long as the deadline allows.
    """
    remaining_s: float | None = context.time_remaining()
    if remaining_s is None:
        return most_s
    left_s = remaining_s - min(EARLY_S, remaining_s / 2)
    return left_s if most_s is None else min(left_s, most_s)
