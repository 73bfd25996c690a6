"""What is known of every file that came, in SQLite: a process killed at any place goes on where this says.

    file comes      arrive()     request and arrival are open
    job accepted    submitted()  the request knows its job
    job ended       end()        the request is done or failed; its result file is on the disk already
                    record()     every arrival of it gets a line of results.jsonl, numbered
    file moved      filed()      nothing is left to do

Each arrow is one transaction, which a kill leaves whole. What happens between two of them can be done twice: a
submission is joined by its request id, a result file is written over with the same bytes, a line is known by its
number, a file that is gone has been moved. Only record() waits for the disk, and takes all before it along: when the
power fails, the others are done again in the same way, but no file may be moved of which no line tells.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from triptych.client import specs
from triptych.intake.order import Content, Order, key_of
from triptych.v1.job_pb2 import JobOptions, JobSpec

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "triptych.v1/intake")
_BUSY_S = 30
# A file that leaves may come again; as long as it has not left it is the same one, whatever is asked by now.
_KNOWN_LEAVING = "SELECT * FROM arrivals WHERE name = ? AND files = ? AND leaves AND state IN ('open', 'recorded')"
# Of one that stays, a result is for ever: its name, its bytes and what is asked say that it has come before.
_KNOWN_STAYING = "SELECT * FROM arrivals WHERE name = ? AND key = ? AND NOT leaves AND state != 'again'"
_UNSENT = "state = 'open' AND key IN (SELECT key FROM requests WHERE job = '' AND state = 'open')"
# Of a name the last line counts; of one that is under way none does.
_IS_LAST = "NOT EXISTS (SELECT 1 FROM arrivals b WHERE b.name = a.name AND (b.line > a.line OR b.state = 'open'))"
_FAILED = f"outcome = 'failed' AND a.state != 'again' AND {_IS_LAST}"
_ORIGINAL = "SELECT name FROM arrivals WHERE key = ? AND round = ? AND line NOTNULL ORDER BY line LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One job's worth of work.

    Attributes:
        digests: SHA-256 of its files, in the order of the specification's open inputs.
        round: How often it was begun anew; a new round is a new job.
        job: Name of its job; empty if it has none yet.
        state: "open", "done" or "failed".
        result: File name of its result.
        error: Why it failed.
    """

    key: str
    spec: JobSpec
    options: JobOptions
    digests: tuple[str, ...]
    round: int
    job: str
    state: str
    result: str
    error: dict[str, Any]

    @property
    def request_id(self) -> str:
        """What makes a repeated submission join the job: all that the services compare, names of files too."""
        names = [place.display_name for place in specs.open_inputs(self.spec)]
        return str(uuid.uuid5(_NAMESPACE, json.dumps([self.key, names, self.round])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One file, or one line of a manifest, that brought a request.

    Attributes:
        state: "open", "recorded", "filed", or "again" if it failed and is to be done again.
        outcome: "done" or "failed" once it is recorded.
        target: Where its file goes; empty if it stays.
    """

    id: int
    key: str
    name: str
    contents: tuple[Content, ...]
    leaves: bool
    state: str
    outcome: str
    facts: dict[str, Any]
    target: str


class Journal:
    """The journal of one folder of results. One process writes it; others may read meanwhile.

    Args:
        path: Of the database; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        # Metrics are read in a thread of their own; SQLite itself lets one caller in at a time.
        self._base = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        self._base.row_factory = sqlite3.Row
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = NORMAL")
        self._base.executescript((files("triptych.intake") / "journal.sql").read_text())

    def close(self) -> None:
        """Closes it."""
        self._base.close()

    def arrive(self, order: Order, contents: Sequence[Content]) -> tuple[Arrival, bool]:
        """Takes note of an order; gives its arrival, and whether that is a new one.

        A request that failed is open again when it comes again: that is how people ask for a retry.
        """
        key = key_of(order, list(contents))
        looks = json.dumps([[str(each.path), each.digest, each.size_bytes, each.mtime_ns] for each in contents])
        with self._base:
            self._base.execute("BEGIN IMMEDIATE")
            query, like = (_KNOWN_LEAVING, looks) if order.leaves else (_KNOWN_STAYING, key)
            if known := self._base.execute(query, (order.name, like)).fetchone():
                return _arrival(known), False
            self._base.execute(
                "INSERT INTO requests (key, spec, options, digests) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET round = round + 1, job = '', state = 'open', error = '' WHERE state = 'failed'",
                (key, _named(order), order.options.SerializeToString(), json.dumps([each.digest for each in contents])),
            )
            added = self._base.execute(
                "INSERT INTO arrivals (key, name, files, leaves, at_ms) VALUES (?, ?, ?, ?, ?) RETURNING *",
                (key, order.name, looks, order.leaves, time.time_ns() // 10**6),
            ).fetchone()
            return _arrival(added), True

    def request(self, key: str) -> Request:
        """Gives a request."""
        return _request(self._base.execute("SELECT * FROM requests WHERE key = ?", (key,)).fetchone())

    def submitted(self, key: str, job: str) -> None:
        """Takes note of a request's job."""
        self._base.execute("UPDATE requests SET job = ? WHERE key = ?", (job, key))

    def begin_anew(self, key: str) -> None:
        """Makes the request's next submission a new job."""
        self._base.execute("UPDATE requests SET round = round + 1, job = '' WHERE key = ?", (key,))

    def end(self, key: str, *, result: str = "", error: dict[str, Any] | None = None) -> None:
        """Takes note of how a request ended."""
        self._base.execute(
            "UPDATE requests SET state = ?, result = ?, error = ? WHERE key = ?",
            ("failed" if error else "done", result, json.dumps(error) if error else "", key),
        )

    def open_arrivals(self, key: str) -> list[Arrival]:
        """Gives the arrivals of a request that have no result yet, in order."""
        found = self._base.execute("SELECT * FROM arrivals WHERE key = ? AND state = 'open' ORDER BY id", (key,))
        return [_arrival(row) for row in found]

    def record(self, arrival: Arrival, request: Request, *, target: str) -> Arrival:
        """Gives an arrival its line of the results, the next one; it is on the disk when this returns.

        Args:
            arrival: An open one.
            request: Its request, which has ended.
            target: Where its file goes; empty if it stays.
        """
        with self._on_the_disk(), self._base:
            self._base.execute("BEGIN IMMEDIATE")
            line = self._base.execute("SELECT coalesce(max(line), 0) + 1 FROM arrivals").fetchone()[0]
            original = self._base.execute(_ORIGINAL, (request.key, request.round)).fetchone()
            facts = {
                "line": line,
                "name": arrival.name,
                "state": request.state,
                "duplicate_of": original["name"] if original else None,
                "digests": list(request.digests),
                "job": request.job,
                "file": target or None,
                "result": request.result or None,
                **({"error": request.error} if request.error else {}),
            }
            row = self._base.execute(
                "UPDATE arrivals SET state = 'recorded', round = ?, outcome = ?, line = ?, duplicate_of = ?,"
                " facts = ?, target = ? WHERE id = ? RETURNING *",
                (request.round, request.state, line, facts["duplicate_of"], json.dumps(facts), target, arrival.id),
            ).fetchone()
            return _arrival(row)

    @contextmanager
    def _on_the_disk(self) -> Iterator[None]:
        self._base.execute("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            self._base.execute("PRAGMA synchronous = NORMAL")

    def filed(self, arrival: Arrival) -> None:
        """Takes note that an arrival's file is where it belongs."""
        self._base.execute("UPDATE arrivals SET state = 'filed' WHERE id = ?", (arrival.id,))

    def forget(self, arrival: Arrival) -> None:
        """Drops an arrival whose file went away or changed before it was read."""
        self._base.execute("DELETE FROM arrivals WHERE id = ? AND state = 'open'", (arrival.id,))

    def again(self, move_back: Callable[[Arrival], None]) -> int:
        """Lets all that failed be done again when it comes next; gives their number.

        Args:
            move_back: Puts the file of an arrival back where it came from.
        """
        failed = self._base.execute(
            f"SELECT * FROM arrivals a WHERE {_FAILED} AND state = 'filed' ORDER BY id"  # noqa: S608 - constants
        ).fetchall()
        for row in failed:
            move_back(_arrival(row))
            self._base.execute("UPDATE arrivals SET state = 'again' WHERE id = ?", (row["id"],))
        return len(failed)

    def forget_unsent(self) -> None:
        """Drops all arrivals that have neither job nor result: they come again, perhaps with another question.

        Their requests stay: a job that was submitted just before we died is joined.
        """
        self._base.execute(f"DELETE FROM arrivals WHERE {_UNSENT}")  # noqa: S608 - a constant

    def unfinished(self) -> list[str]:
        """Gives the keys of requests with arrivals without a result, in order."""
        return [row["key"] for row in self._base.execute(
            "SELECT key FROM arrivals WHERE state = 'open' GROUP BY key ORDER BY min(id)"
        )]  # fmt: skip

    def unfiled(self) -> list[Arrival]:
        """Gives the arrivals that have their result, but whose files may not be where they belong."""
        return [_arrival(row) for row in self._base.execute("SELECT * FROM arrivals WHERE state = 'recorded'")]

    def last_line(self) -> int:
        """Gives the number of the last line of the results, or 0."""
        return int(self._base.execute("SELECT coalesce(max(line), 0) FROM arrivals").fetchone()[0])

    def lines_after(self, line: int) -> Iterator[dict[str, Any]]:
        """Yields what the results say of every arrival after a line, in order."""
        query = "SELECT facts FROM arrivals WHERE line > ? ORDER BY line"
        with closing(self._base.execute(query, (line,))) as found:
            for row in found:
                yield json.loads(row["facts"])

    def failures(self) -> list[dict[str, Any]]:
        """Gives what the results say of the names whose last line is a failure, in order."""
        query = f"SELECT facts FROM arrivals a WHERE {_FAILED} ORDER BY line"  # noqa: S608 - constants
        return [json.loads(row["facts"]) for row in self._base.execute(query)]

    def counts(self) -> dict[str, int]:
        """Gives how many there are: open, of those submitted, done, failed, and duplicates among the ended ones."""
        query = (
            "SELECT count(*) FILTER (WHERE a.state = 'open') AS open_count,"  # noqa: S608 - constants
            " count(*) FILTER (WHERE a.state = 'open' AND r.job != '') AS submitted_count,"
            " count(*) FILTER (WHERE outcome = 'done') AS done_count,"
            f" count(*) FILTER (WHERE {_FAILED}) AS failed_count,"
            " count(*) FILTER (WHERE duplicate_of NOTNULL) AS duplicate_count"
            " FROM arrivals a JOIN requests r USING (key)"
        )
        row = self._base.execute(query).fetchone()
        return dict(row)

    def oldest_open_s(self) -> float:
        """Gives the time since the oldest file without a result came, in seconds; 0 if there is none."""
        (since_ms,) = self._base.execute("SELECT min(at_ms) FROM arrivals WHERE state = 'open'").fetchone()
        return max(0.0, time.time() - since_ms / 1000) if since_ms else 0.0


def _named(order: Order) -> bytes:
    """The specification with the names of the first files that bring it: it is sent the same way ever after."""
    spec = JobSpec()
    spec.CopyFrom(order.spec)
    for place, path in zip(specs.open_inputs(spec), order.files, strict=True):
        place.display_name = place.display_name or path.name[:255]
    return spec.SerializeToString(deterministic=True)


def _request(row: sqlite3.Row) -> Request:
    return Request(
        key=row["key"],
        spec=JobSpec.FromString(row["spec"]),
        options=JobOptions.FromString(row["options"]),
        digests=tuple(json.loads(row["digests"])),
        round=row["round"],
        job=row["job"],
        state=row["state"],
        result=row["result"],
        error=json.loads(row["error"]) if row["error"] else {},
    )


def _arrival(row: sqlite3.Row) -> Arrival:
    return Arrival(
        id=row["id"],
        key=row["key"],
        name=row["name"],
        contents=tuple(
            Content(path=Path(path), digest=digest, size_bytes=size, mtime_ns=mtime_ns)
            for path, digest, size, mtime_ns in json.loads(row["files"])
        ),
        leaves=bool(row["leaves"]),
        state=row["state"],
        outcome=row["outcome"],
        facts=json.loads(row["facts"]) if row["facts"] else {},
        target=row["target"],
    )
