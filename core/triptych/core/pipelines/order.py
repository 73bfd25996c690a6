"""In which order the stages of a pipeline can stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triptych.core.pipelines.plan import OUTCOMES, Mistake, Stage

_RANKS = {"read": 0, "retrieve": 1, **dict.fromkeys(OUTCOMES, 2), "verify": 3}
_OUTCOMES = f"{', '.join(OUTCOMES[:-1])} or {OUTCOMES[-1]}"
# Over all that was read a question is not answered: it would fit no prompt.
_NEED_RETRIEVAL = ("answer", "extract", "classify")
_WITHOUT_RETRIEVAL = ("minutes",)


def check_order(stages: Sequence[tuple[Stage, int]], file: str, line: int) -> Iterator[Mistake]:
    """Yields what is wrong with an order.

    Args:
        stages: Each with its line.
        file: As mistakes name it.
        line: Where the list begins: for what is missing.
    """
    seen: list[str] = []
    for stage, at in stages:
        name = stage.name
        if name in seen:
            yield Mistake(file=file, line=at, reason=f"{name!r} stands twice")
        elif name in OUTCOMES and (other := [each for each in seen if each in OUTCOMES]):
            yield Mistake(file=file, line=at, reason=f"{name!r} beside {other[0]!r}: a pipeline gives one result")
        elif later := [each for each in seen if _RANKS[each] > _RANKS[name]]:
            yield Mistake(file=file, line=at, reason=f"{name!r} has to stand before {later[0]!r}")
        seen.append(name)
        if name in _WITHOUT_RETRIEVAL and "retrieve" in seen:
            yield Mistake(file=file, line=at, reason=f"{name!r} goes over all that was read: leave out 'retrieve'")
    if "read" not in seen:
        yield Mistake(file=file, line=line, reason="'read' is missing: documents are read first")
    outcome = next((name for name in seen if name in OUTCOMES), None)
    if outcome is None:
        yield Mistake(file=file, line=line, reason=f"nothing gives a result: one of {_OUTCOMES} has to")
    if outcome in _NEED_RETRIEVAL and "retrieve" not in seen:
        yield Mistake(file=file, line=line, reason=f"'retrieve' is missing before {outcome!r}")
    if "verify" not in seen:
        yield Mistake(file=file, line=line, reason="'verify' is missing: what is told has to be looked for again")
