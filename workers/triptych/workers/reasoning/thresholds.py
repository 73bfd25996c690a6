"""Holds back an answer that is not sure enough."""

from __future__ import annotations

from triptych.v1.reasoning_pb2 import AnswerStatus
from triptych.workers.reasoning.finding import NOT_FOUND
from triptych.workers.reasoning.run import Outcome


def held(outcome: Outcome, *, min_confidence: float, min_groundedness: float) -> Outcome:
    """Gives an outcome, or none instead of one below a threshold.

    What nobody knows the confidence of is not held back by it; values of a structured answer were held back one by one.

    Args:
        outcome: What the pipeline found.
        min_confidence: 0 to 1.
        min_groundedness: 0 to 1.
    """
    ungrounded = outcome.groundedness is not None and outcome.groundedness < min_groundedness
    unsure = not outcome.values and outcome.confidence is not None and outcome.confidence < min_confidence
    if not (ungrounded or unsure):
        return outcome
    return Outcome(status=AnswerStatus.ANSWER_STATUS_NOT_FOUND, text=NOT_FOUND, usage=outcome.usage)
