"""Units of work that a tenant's jobs share: who knows one, who computes it, and which documents it comes from.

A *work* is what is done to some bytes, apart from who wants it; a *unit* is a part of its result: a page, or all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.core.store import Op, Script

OWN, ELSEWHERE = "own", "elsewhere"

_take, _derive, _note, _keep, _release = (
    Script(name) for name in ("take_units", "derive", "note", "keep_unit", "release_unit")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Equal works give equal results.

    Attributes:
        kind: Kind of job that does it.
        key: Digest of everything that can change the result, 64 hex digits.
        shared: Whether other jobs may have the result; not if a model's weights are unknown or it draws lots.
    """

    kind: str
    key: str
    shared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The attempt that asks for units, computes them and answers for them.

    Attributes:
        documents: Digests of what its job and that job's parent read, 64 hex digits each.
    """

    tenant: str
    job_id: str
    attempt: int
    documents: tuple[str, ...]


def key_of(*facts: bytes) -> str:
    """Gives the key of a work that these facts, in this order, tell from all others."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(len(fact).to_bytes(8, "big") + fact)
    return digest.hexdigest()


def take(
    work: Work,
    holder: Holder,
    units: Sequence[str],
    missing: Mapping[str, str],
    *,
    holds: bool,
    ttl_s: float,
    note_ttl_s: float,
) -> Op[dict[str, str]]:
    """Asks for units: gives for each the name of its blob, `OWN` or `ELSEWHERE`; nothing if the attempt runs no more.

    Args:
        work: What they are units of.
        holder: Who computes those that are `OWN`.
        units: Names.
        missing: Blob of a unit that turned out to be gone: it is nobody's then.
        holds: Whether those that are `OWN` are the holder's from now on; otherwise it only wants to know.
        ttl_s: How long units are known after their last use.
        note_ttl_s: How long it is known which documents they come from.
    """

    def parse(answer: list[bytes]) -> dict[str, str]:
        return dict(zip(units, (each.decode() for each in answer), strict=True)) if answer else {}

    pairs = [part for unit in units for part in (unit, missing.get(unit, ""))]
    noted = " ".join(holder.documents)
    return _take(parse, *_who(work, holder), _ms(ttl_s), _ms(note_ttl_s), noted, int(holds), *pairs)


def derive(holder: Holder, names: Sequence[str], *, note_ttl_s: float) -> Op[bool]:
    """Notes works and blobs as coming from the holder's documents, before they are written.

    False: the attempt does not run any more, and nothing must be written.
    """
    return _derive(
        bool, holder.tenant, holder.job_id, holder.attempt, _ms(note_ttl_s), " ".join(holder.documents), *names
    )


def note(tenant: str, documents: Sequence[str], name: str, *, note_ttl_s: float) -> Op[None]:
    """Notes a blob as coming from documents, before it is written: what is written of an ended job, or of a result.

    Args:
        tenant: Whose.
        documents: Digests, 64 hex digits each.
        name: Of the blob.
        note_ttl_s: How long it is known.
    """
    return _note(lambda _answer: None, tenant, _ms(note_ttl_s), " ".join(documents), name)


def keep(work: Work, holder: Holder, unit: str, blob: str, *, ttl_s: float) -> Op[bool]:
    """Makes a unit known whose bytes are in a blob. False: the attempt does not run any more."""
    return _keep(bool, *_who(work, holder), _ms(ttl_s), unit, blob)


def release(work: Work, holder: Holder, unit: str) -> Op[Any]:
    """Frees a unit that the holder could not compute."""
    return _release(bool, *_who(work, holder), unit)


def _who(work: Work, holder: Holder) -> tuple[str, str, str, int]:
    return holder.tenant, work.key, holder.job_id, holder.attempt


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
