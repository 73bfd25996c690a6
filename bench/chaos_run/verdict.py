"""Judges what is left: was anything lost, done twice, or told otherwise than the contract promises?"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chaos_run.aftermath import Remains
from chaos_run.ledger import Ledger
from chaos_run.request import LABEL, Request
from chaos_run.strike import Strike

from triptych.core.errors import from_status
from triptych.core.history import violations
from triptych.core.outcomes import broken_family
from triptych.core.records import TERMINAL
from triptych.v1.job_pb2 import JobState

# What a call may be told while all this happens. Anything else would be a bug that reached a caller.
_TOLD = {
    "BACKEND_UNAVAILABLE", "SERVER_DRAINING", "NO_WORKER", "UNAVAILABLE", "TIMED_OUT", "CALL_TIMEOUT", "QUEUE_FULL",
    "HOST_EXHAUSTED",
}  # fmt: skip
_SUCCEEDED, _CANCELLED = JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_CANCELLED
# Callers who wait count as gone when they lose the connection: the job of before is cancelled, and a new one begun.
_BEGINS_ANEW = frozenset({"call", "hurry"})


@dataclass(slots=True)
class Verdict:
    """All that is wrong, one line each."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    redone: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The last line of the bench."""
        found = len(self.violations) + len(self.redone)
        return f"lost {len(self.lost)}, duplicated {len(self.duplicated)}, violations {found}"

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.duplicated or self.violations or self.redone)


def judge(
    requests: Sequence[Request], remains: Sequence[Remains], strikes: Sequence[Strike], ledger: Ledger
) -> Verdict:
    """Looks at every request, every job, every fault and every write."""
    verdict = Verdict()
    verdict.violations += [f"never well again: {strike}" for strike in strikes if not strike.recovered_s]
    by_name = {each.job.name: each for each in remains}
    by_request: dict[str, list[Remains]] = defaultdict(list)
    children: dict[str, list[Remains]] = defaultdict(list)
    for each in remains:
        (children[each.job.parent_job] if each.job.parent_job else by_request[each.job.labels[LABEL]]).append(each)
    for request in requests:
        found = by_request[str(request.number)]
        verdict.lost += _lost(request, found, by_name)
        verdict.duplicated += _duplicated(request, found)
        verdict.violations += _wrongs(request, found, by_name)
    for parent, born in children.items():
        verdict.lost += _lost_children(by_name[parent], born)
        wrongs = broken_family(by_name[parent].job, [each.job for each in born])
        verdict.violations += [f"{wrong.job}: {wrong.rule}: {wrong.message}" for wrong in wrongs]
    for each in remains:
        verdict.violations += _history(each)
    known = {name.removeprefix("jobs/") for name in by_name}
    verdict.lost += [f"jobs/{job_id} vanished" for job_id in ledger.created if job_id not in known]
    verdict.duplicated += [f"jobs/{job_id} ended {count} times" for job_id, count in ledger.ends.items() if count > 1]
    for (job_id, unit), attempts in ledger.units.items():
        if len(attempts) > 1:
            verdict.redone.append(f"jobs/{job_id}: {unit} was done by attempts {sorted(attempts)}")
    return verdict


def reason_of(each: Remains) -> str:
    """Gives the reason of a job's error; empty if it has none."""
    return from_status(each.job.error).reason if each.job.HasField("error") else ""


def _lost(request: Request, found: Sequence[Remains], by_name: dict[str, Remains]) -> Iterator[str]:
    about = f"request {request.number} ({request.mode}, {request.sample.name})"
    for name in request.names:
        if name not in by_name:
            yield f"{about}: {name} was told and is gone"
    for each in found:
        if each.job.state not in TERMINAL or each.trouble:
            yield f"{about}: {each.job.name} {each.trouble or 'never ended'}"
        elif each.job.state != _SUCCEEDED and reason_of(each) not in {*request.excuses, request.sample.reason}:
            yield f"{about}: {each.job.name} ended with {reason_of(each)}: {each.job.error.message}"


def _lost_children(parent: Remains, children: Sequence[Remains]) -> Iterator[str]:
    for child in children:
        if parent.job.state == _SUCCEEDED and child.job.state != _SUCCEEDED:
            why = child.trouble or reason_of(child) or "never ended"
            yield f"{child.job.name}, child of {parent.job.name}, which succeeded: {why}"


def _duplicated(request: Request, found: Sequence[Remains]) -> Iterator[str]:
    anew = request.mode in _BEGINS_ANEW
    names = {each.job.name for each in found if not (anew and each.job.state == _CANCELLED)}
    if not anew:
        names |= request.names
    if len(names) > 1:
        yield f"request {request.number} ({request.mode}) became {sorted(names)}"


def _wrongs(request: Request, found: Sequence[Remains], by_name: dict[str, Remains]) -> Iterator[str]:
    about = f"request {request.number} ({request.mode}, {request.sample.name})"
    if request.wrong:
        yield f"{about} was answered {request.wrong}"
    for each in found:
        if each.result and (wrong := request.sample.wrong(each.result)):
            yield f"{about}: {each.job.name} holds {wrong}"
    for told in request.told:
        if told.error.reason not in {*_TOLD, *request.excuses, request.sample.reason}:
            yield f"{about} was told {told.error.reason} at {told.at_s:.1f}: {told.error}"
    each = by_name.get(request.watched[-1].job.name) if request.watched else None
    if each and request.watched[-1].job.state in TERMINAL:
        yield from (f"{about}: {each.job.name} {wrong}" for wrong in _watch(request, each))


def _watch(request: Request, each: Remains) -> Iterator[str]:
    """What a watch told, broken and resumed, is what is kept: all of it, and nothing else."""
    told, kept = ({event.cursor for event in events} for events in (request.watched, each.events))
    if told != kept:
        yield f"told {sorted(told - kept)}, of which nothing is kept, and not {sorted(kept - told)}"
    for wrong in violations(request.watched, each.job, each.result):
        yield f"as watched: {wrong.rule}: {wrong.message}"


def _history(each: Remains) -> Iterator[str]:
    if each.job.state in TERMINAL and not each.trouble:
        for wrong in violations(each.events, each.job, each.result):
            yield f"{wrong.job}: {wrong.rule}: {wrong.message}"
