"""How large batches may be where memory ran out, remembered for the next worker that serves the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from triptych.core.store import PREFIX, Op
from triptych.v1.common_pb2 import ModelRef

TTL_S = 30 * 24 * 3600
"""What nobody changed for so long is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What is known to fit, in the engine's unit of cost."""

    safe_cost: float
    """Batches cost at most this."""
    failed_cost: float
    """This ran out of memory."""
    probe_after_s: float
    """Time without a change after which a larger batch is tried."""

    def raised(self, factor: float) -> Ceiling:
        """Gives one that allows so much more."""
        return replace(self, safe_cost=self.safe_cost * factor)


def place(model: ModelRef, device: str, total_bytes: int) -> str:
    """Names the ceilings of a model's weights on a kind of device: "whisper-base@437fbee4597a cpu 16 GiB"."""
    return f"{model.model}@{model.revision} {model.engine} {device} {round(total_bytes / 2**30)} GiB"


def remembered(where: str) -> Op[dict[str, Ceiling]]:
    """Gives the ceilings of a place, by the text of the batch key."""
    return Op(("HGETALL", _key(where)), _ceilings)


def remember(where: str, changes: Mapping[str, Ceiling | None]) -> list[Op[object]]:
    """Keeps changed ceilings; None forgets one."""
    key = _key(where)
    kept = {name: json.dumps(asdict(ceiling)) for name, ceiling in changes.items() if ceiling}
    gone = [name for name, ceiling in changes.items() if ceiling is None]
    ops: list[Op[object]] = []
    if kept:
        ops.append(Op(("HSET", key, *(part for pair in kept.items() for part in pair)), _anything))
        ops.append(Op(("EXPIRE", key, TTL_S), _anything))
    if gone:
        ops.append(Op(("HDEL", key, *gone), _anything))
    return ops


def _key(where: str) -> str:
    return f"{PREFIX}ceilings:{where}"


def _ceilings(answer: Any) -> dict[str, Ceiling]:
    pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    return {name.decode(): Ceiling(**json.loads(value)) for name, value in pairs}


def _anything(answer: object) -> object:
    return answer
