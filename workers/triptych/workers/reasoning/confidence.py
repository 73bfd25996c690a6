"""How likely an answer is right: a logistic model over what speaks for it, fitted on labelled answers.

The weights are in `confidence.json`, written by `bench/calibrate.py`; how reliable they are is in docs/answers.md.
"""

from __future__ import annotations

import json
import math
from dataclasses import astuple, dataclass, fields
from functools import cache
from importlib import resources

WEIGHTS = "confidence.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What speaks for or against an answer, 0 to 1 each.

    Attributes:
        model: Mean probability of the model's tokens; 0 if the answer is not the model's.
        agreed: Whether model and page say the same, one found by its words, one by what stands beside it.
        read: How surely a label, a cell or a form names the value; 0 if nothing does.
        worked_out: Whether it was worked out from rows.
        not_worked_out: Whether it would have to be worked out, and is the model's guess.
        refused: Whether the model said that there is no answer.
        exact: Share of the answer's claims that stand on the pages.
        near: Whether words of the question stand beside or above it.
        covered: Share of the question's words that stand on the pages shown.
        formed: Whether it has the form that was asked for; 0.5 if any will do.
        recognized: Weakest confidence of recognition under it; 1 if nothing was recognized there.
    """

    model: float = 0.0
    agreed: float = 0.0
    read: float = 0.0
    worked_out: float = 0.0
    not_worked_out: float = 0.0
    refused: float = 0.0
    exact: float = 0.0
    near: float = 0.0
    covered: float = 0.0
    formed: float = 0.5
    recognized: float = 1.0


NAMES = tuple(field.name for field in fields(Signals))


def probability(signals: Signals) -> float:
    """Gives how likely the answer is right, 0 to 1."""
    bias, weights = _weights()
    total = bias + sum(weight * value for weight, value in zip(weights, astuple(signals), strict=True))
    return 1 / (1 + math.exp(-total))


@cache
def _weights() -> tuple[float, tuple[float, ...]]:
    told = json.loads(resources.files(__package__).joinpath(WEIGHTS).read_text("utf-8"))
    return told["bias"], tuple(told["weights"][name] for name in NAMES)
