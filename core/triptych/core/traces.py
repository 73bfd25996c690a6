"""Looks through all that Redis holds for words that should be gone, whoever wrote them and wherever."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from triptych.core.store import PREFIX, Op, Store, keys

# Ids of jobs and digests, also where they overlap with other digits.
_WORDS = re.compile(rb"(?=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}))")
# Families of keys whose next part is a tenant, and those whose next part is an id: which hash of it knows the tenant.
_BY_TENANT = frozenset({"jobs", "dead", "deliveries", "request", "units", "derived", "blob", "upload"})
_BY_ID = {**dict.fromkeys(("job", "events", "parts", "begun", "blame", "children"), "job"), "delivery": "delivery"}
# The family of keys that end with a tenant, and those whose values are tenants.
_BY_LAST, _OF_TENANTS = "waiting", frozenset({"turns", "rests", "weights"})
# Bytes of callers, whose digest is in the key; Celery's own lists, which know nothing of documents; and the ledger of
# what left, which is to outlive the documents.
_UNREAD = frozenset({"blob", "upload", "broker", "ledger", "reservation"})
# Events of a job may be many megabytes.
_KEYS_AT_ONCE = 50
_READ: Mapping[bytes, tuple[str, tuple[str, ...]]] = {
    b"string": ("GET", ()),
    b"hash": ("HGETALL", ()),
    b"list": ("LRANGE", ("0", "-1")),
    b"set": ("SMEMBERS", ()),
    b"zset": ("ZRANGE", ("0", "-1")),
    b"stream": ("XRANGE", ("-", "+")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What to look for.

    Attributes:
        tenant: Whose; what is another tenant's is not looked at: it may have the same document.
        words: Ids of jobs and digests.
        whole: Whether everything of the tenant should be gone.
    """

    tenant: str
    words: frozenset[str]
    whole: bool


def count_traces(store: Store, marks: Marks) -> int:
    """Gives the number of keys that bear or hold one of the marks."""
    every = keys(store, f"{PREFIX}*")
    count = 0
    while some := list(islice(every, _KEYS_AT_ONCE)):
        count += _count(store, marks, some)
    return count


def _count(store: Store, marks: Marks, some: list[str]) -> int:
    owners = _owners(store, some)
    ours = [key for key in some if owners.get(key) in (marks.tenant, None)]
    certain = {key for key in ours if (marks.whole and key in owners) or _has(marks, [key.encode()])}
    unread = [key for key in ours if key not in certain and _parts(key)[0] not in _UNREAD]
    types = store.run_all([Op(("TYPE", key), _same) for key in unread])
    reads = [(_READ[kind], key) for kind, key in zip(types, unread, strict=True) if kind in _READ]
    values = store.run_all([Op((command, key, *rest), _same) for (command, rest), key in reads])
    held = zip((key for _, key in reads), values, strict=True)
    return len(certain) + sum(_holds(marks, key, list(_bytes_in(value))) for key, value in held)


def _owners(store: Store, some: list[str]) -> dict[str, str]:
    """Gives the tenants of keys; those without are everybody's, or belong to a job that is gone."""
    hashes = {
        key: f"{PREFIX}{_BY_ID[family]}:{name}" for key in some for family, name in [_parts(key)] if family in _BY_ID
    }
    tenants = store.run_all([Op(("HGET", known, "tenant"), _same) for known in hashes.values()])
    owners = {key: tenant.decode() for key, tenant in zip(hashes, tenants, strict=True) if tenant}
    owners |= {key: _parts(key)[1] for key in some if _parts(key)[0] in _BY_TENANT}
    return owners | {key: key.rpartition(":")[2] for key in some if _parts(key)[0] == _BY_LAST}


def _parts(key: str) -> tuple[str, str]:
    family, _, rest = key.removeprefix(PREFIX).partition(":")
    return family, rest.partition(":")[0]


def _holds(marks: Marks, key: str, texts: list[bytes]) -> bool:
    named = marks.whole and _parts(key)[0] in _OF_TENANTS and marks.tenant.encode() in texts
    return named or _has(marks, texts)


def _has(marks: Marks, texts: Iterable[bytes]) -> bool:
    return any(match.group(1).decode() in marks.words for text in texts for match in _WORDS.finditer(text))


def _bytes_in(value: Any) -> Iterator[bytes]:
    """Yields every piece of an answer of Redis."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _bytes_in(pair)
    elif isinstance(value, Iterable):
        for each in value:
            yield from _bytes_in(each)


def _same(answer: Any) -> Any:
    return answer
