"""The figures of a run: a table for people, JSON for programs."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from chaos_run.aftermath import Remains
from chaos_run.faults import LEASE_S
from chaos_run.request import Request
from chaos_run.strike import Strike
from chaos_run.verdict import Verdict, reason_of

from triptych.core.records import KIND_NAMES, TERMINAL
from triptych.v1.job_pb2 import JobState

_RUNNING = JobState.JOB_STATE_RUNNING
_OF_REDIS = ("Redis", "connections to Redis")


def figures(
    requests: Sequence[Request], remains: Sequence[Remains], strikes: Sequence[Strike], verdict: Verdict, seconds: float
) -> dict[str, Any]:
    """Gives all figures of a run."""
    by_id = {each.job.name.removeprefix("jobs/"): each for each in remains}
    went_on = list(_went_on(strikes, by_id))
    cancelled = list(_cancelled(requests, strikes, by_id))
    return {
        "seconds": round(seconds),
        "faults": dict(Counter(strike.fault for strike in strikes)),
        "recovered_s": _recovered(strikes),
        "strikes": [asdict(strike) for strike in strikes],
        "requests": dict(Counter(request.mode for request in requests)),
        "jobs": {kind: dict(Counter(_end(each) for each in jobs)) for kind, jobs in _by_kind(remains).items()},
        "attempts": dict(Counter(each.job.attempt for each in remains)),
        "told": dict(Counter(told.error.reason for request in requests for told in request.told)),
        "went_on_s": _spread([seconds for seconds, _ in went_on]),
        "went_on_undisturbed_s": _spread([seconds for seconds, calm in went_on if calm]),
        "cancelled_s": _spread([seconds for seconds, _ in cancelled]),
        "cancelled_undisturbed_s": _spread([seconds for seconds, calm in cancelled if calm]),
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "violations": verdict.violations,
        "finished_units_done_again": verdict.redone,
    }


def table(found: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the table, in Markdown."""
    yield "| fault | times | recovered in (p50, p99) |\n|---|---|---|"
    for fault, count in sorted(found["faults"].items(), key=lambda item: -item[1]):
        yield f"| {fault} | {count} | {_seconds(found['recovered_s'][fault])} |"
    count, spread = sum(found["faults"].values()), _seconds(found["recovered_s"]["all"])
    yield f"| all | {count} in {found['seconds']} s | {spread} |\n"
    yield "| jobs | succeeded | failed | cancelled |\n|---|---|---|---|"
    for kind, ends in found["jobs"].items():
        reasons = [f"{count} {reason}" for reason, count in sorted(ends.items()) if reason not in _GOOD]
        failed = ", ".join(reasons) or "0"
        yield f"| {kind} | {ends.get('SUCCEEDED', 0)} | {failed} | {ends.get('JOB_CANCELLED', 0)} |"
    yield "\n| | |\n|---|---|"
    yield f"| jobs | {sum(sum(ends.values()) for ends in found['jobs'].values())} |"
    yield f"| lost | {len(found['lost'])} |"
    yield f"| run twice to the end | {len(found['duplicated'])} |"
    yield f"| finished units done again | {len(found['finished_units_done_again'])} |"
    for name, key in (("jobs of a killed worker went on in", "went_on"), ("cancelled in", "cancelled")):
        for suffix, how in (("", ""), ("_undisturbed", ", no other fault meanwhile")):
            spread = found[f"{key}{suffix}_s"]
            yield f"| {name} (p50, p99{how}) | {_seconds(spread)} of {spread['count']} |"
    yield f"| attempts at one job, at most | {max(found['attempts'], default=0)} |\n"


_GOOD = ("SUCCEEDED", "JOB_CANCELLED")


def _by_kind(remains: Sequence[Remains]) -> dict[str, list[Remains]]:
    kinds = defaultdict(list)
    for each in remains:
        kinds[KIND_NAMES[each.job.kind] + (", as a child" if each.job.parent_job else "")].append(each)
    return dict(sorted(kinds.items()))


def _end(each: Remains) -> str:
    return reason_of(each) or JobState.Name(each.job.state).removeprefix("JOB_STATE_")


def _recovered(strikes: Sequence[Strike]) -> dict[str, dict[str, float]]:
    """Fault -> time from its end until who was struck was ready again and a caller was answered."""
    took: dict[str, list[float]] = defaultdict(list)
    for strike in strikes:
        if strike.recovered_s:
            took[strike.fault].append(strike.recovered_s - strike.ended_s)
            took["all"].append(strike.recovered_s - strike.ended_s)
    return {fault: _spread(took[fault]) for fault in (*dict.fromkeys(strike.fault for strike in strikes), "all")}


def _went_on(strikes: Sequence[Strike], by_id: dict[str, Remains]) -> Iterator[tuple[float, bool]]:
    """From a worker's kill until another attempt runs, and whether nothing else was in the way."""
    for strike in strikes:
        for job_id, attempt in strike.held.items():
            for event in by_id[job_id].events if job_id in by_id else ():
                if event.HasField("job") and event.job.state == _RUNNING and event.attempt == attempt + 1:
                    at_s = event.emit_time.ToMilliseconds() / 1000
                    yield at_s - strike.began_s, not _disturbed(strikes, strike.began_s, at_s, strike)
                    break


def _cancelled(
    requests: Sequence[Request], strikes: Sequence[Strike], by_id: dict[str, Remains]
) -> Iterator[tuple[float, bool]]:
    """From CancelJob until the job is terminal, if it was not before."""
    for request in requests:
        for name in request.names if request.cancelled_s else ():
            each = by_id.get(name.removeprefix("jobs/"))
            if each and each.job.state in TERMINAL:
                at_s = each.job.end_time.ToMilliseconds() / 1000
                if at_s > request.cancelled_s:
                    yield at_s - request.cancelled_s, not _disturbed(strikes, request.cancelled_s, at_s)


def _disturbed(strikes: Sequence[Strike], began_s: float, ended_s: float, own: Strike | None = None) -> bool:
    """Whether another fault of Redis or of a worker of that kind began in that time, or was not over."""
    kind = own.target.rsplit("-", 1)[0] if own else "worker"
    return any(
        strike is not own
        and strike.began_s < ended_s
        and _over_s(strike) > began_s
        and (strike.fault.startswith(_OF_REDIS) or strike.target.startswith(kind))
        for strike in strikes
    )


def _over_s(strike: Strike) -> float:
    # When Redis was away, leases are left alone for as long as one lasts.
    after_s = LEASE_S if strike.target == "redis" else 0
    return max(strike.recovered_s, strike.ended_s + after_s) if strike.recovered_s else math.inf


def _spread(values: list[float]) -> dict[str, float]:
    ranked = sorted(values)

    def quantile(share: float) -> float:
        return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 2) if ranked else 0.0

    return {"p50": quantile(0.5), "p99": quantile(0.99), "count": len(ranked)}


def _seconds(spread: dict[str, float]) -> str:
    return f"{spread['p50']} s, {spread['p99']} s"
