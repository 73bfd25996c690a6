"""How busy the deployment is: waiting and running jobs, live workers and their models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from triptych.core.store import Op, Script

_queues, _announce, _workers, _retire = (Script(name) for name in ("queues", "announce", "workers", "retire"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLoad:
    """One lane of one kind."""

    kind: str
    lane: int
    pending: int
    running: int
    oldest_pending_ms: int
    drain_per_s: float
    """What workers lately took from all lanes of the kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWorker:
    """A worker that announced itself lately, and a model that it serves."""

    worker: str
    model: str


def lanes(kinds: Iterable[str]) -> Op[list[LaneLoad]]:
    """Gives the load of every lane of these kinds."""
    names = list(kinds)

    def parse(answer: list[Any]) -> list[LaneLoad]:
        places = [(kind, lane) for kind in names for lane in range(3)]
        return [
            LaneLoad(
                kind=kind,
                lane=lane,
                pending=int(answer[4 * i]),
                running=int(answer[4 * i + 1]),
                oldest_pending_ms=int(answer[4 * i + 2]),
                drain_per_s=float(answer[4 * i + 3]),
            )
            for i, (kind, lane) in enumerate(places)
        ]

    return _queues(parse, *names)


def announce(kind: str, worker: str, models: Iterable[str], ttl_s: float) -> Op[bool]:
    """Says that a worker lives and serves these models, for ttl_s."""
    return _announce(bool, kind, worker, int(ttl_s * 1000), *models)


def retire(kind: str, worker: str) -> Op[bool]:
    """Takes a worker off the list: it stops."""
    return _retire(bool, kind, worker)


def live_workers(kind: str) -> Op[list[LiveWorker]]:
    """Gives who serves what."""

    def parse(answer: list[bytes]) -> list[LiveWorker]:
        return [LiveWorker(worker=w, model=m) for w, m in (entry.decode().split(" ", 1) for entry in answer)]

    return _workers(parse, kind)
