"""The units that jobs share, as a worker gets at them: an index in Redis, bytes in the blob store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from triptych.core import lookup, units
from triptych.core.blobs import BlobStore, blob_name
from triptych.core.errors import BackendUnavailable, JobNotFound, TriptychError
from triptych.core.settings import Settings
from triptych.core.store import Store
from triptych.core.units import Holder, Work

log = logging.getLogger("triptych.units")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of asking for units.

    Attributes:
        known: Values of those that are known.
        own: Those to compute.
        elsewhere: Those that another job computes right now.
    """

    known: Mapping[str, bytes] = field(default_factory=dict)
    own: Sequence[str] = ()
    elsewhere: Sequence[str] = ()


class Units(Protocol):
    """Where units are shared. Nothing here fails a job: what cannot be had is computed, what cannot be kept is not."""

    def look(self, work: Work, holder: Holder, names: Sequence[str]) -> Mapping[str, bytes]:
        """Gives the values of those units that are known."""

    def take(self, work: Work, holder: Holder, names: Sequence[str]) -> Taken:
        """Asks for units; what is not known and nobody else computes is the holder's to compute."""

    def keep(self, work: Work, holder: Holder, name: str, value: bytes) -> None:
        """Makes a computed unit known."""

    def release(self, work: Work, holder: Holder, name: str) -> None:
        """Frees a unit that the holder could not compute."""


class UnitStore:
    """The real one. Thread-safe.

    Args:
        store: Redis.
        blobs: Where the values lie.
        settings: How long they are kept.
    """

    def __init__(self, store: Store, blobs: BlobStore, settings: Settings) -> None:
        self._store = store
        self._blobs = blobs
        self._ttl_s = settings.unit_ttl_s
        # Notes must outlive whatever they name.
        self._note_ttl_s = max(settings.unit_ttl_s, settings.max_result_ttl_s)

    def look(self, work: Work, holder: Holder, names: Sequence[str]) -> Mapping[str, bytes]:
        """See `Units.look`."""
        known: dict[str, bytes] = {}
        try:
            self._read(work, holder, self._ask(work, holder, names, {}, holds=False), known)
        except BackendUnavailable:
            log.warning("known units could not be asked for")
        return known

    def take(self, work: Work, holder: Holder, names: Sequence[str]) -> Taken:
        """See `Units.take`."""
        known: dict[str, bytes] = {}
        try:
            found = self._ask(work, holder, names, {})
            missing = self._read(work, holder, found, known)
            if missing:
                found |= self._ask(work, holder, list(missing), missing)
                self._read(work, holder, {name: found[name] for name in missing if name in found}, known)
        except BackendUnavailable:
            log.warning("known units could not be asked for")
            found = {}
        elsewhere = [name for name in names if found.get(name) == units.ELSEWHERE]
        return Taken(
            known=known,
            elsewhere=elsewhere,
            own=[name for name in names if name not in known and name not in elsewhere],
        )

    def keep(self, work: Work, holder: Holder, name: str, value: bytes) -> None:
        """See `Units.keep`."""
        # With the work's key before it the blob is this work's alone: it can go without a thought for others.
        data = bytes.fromhex(work.key) + value
        try:
            blob = self.write(holder, data, self._ttl_s, work.key)
            if blob and not self._store.run(units.keep(work, holder, name, blob, ttl_s=self._ttl_s)):
                self._blobs.delete(holder.tenant, blob)
        except (TriptychError, OSError) as error:
            log.warning("a unit could not be kept: %s", error)

    def release(self, work: Work, holder: Holder, name: str) -> None:
        """See `Units.release`."""
        try:
            self._store.run(units.release(work, holder, name))
        except BackendUnavailable:
            log.warning("a unit could not be freed; it will be when its job ends")

    def write(self, holder: Holder, data: bytes, ttl_s: float, *names: str) -> str:
        """Puts what comes of the holder's documents into a blob that a purge of one of them finds.

        Args:
            holder: Who writes.
            data: Bytes.
            ttl_s: How long they are kept.
            names: What else comes of the documents.

        Returns:
            The blob's name; empty if the attempt does not run any more: nothing was written.

        Raises:
            BackendUnavailable: Redis cannot be reached.
        """
        blob = blob_name(data)
        if not self._store.run(units.derive(holder, (blob, *names), note_ttl_s=self._note_ttl_s)):
            return ""
        return self._blobs.put(holder.tenant, data, ttl_s).name

    def disown(self, holder: Holder, blob: str) -> None:
        """Deletes a blob that was written for a job which is gone: it was purged meanwhile.

        Raises:
            BackendUnavailable: Redis cannot be reached.
        """
        try:
            self._store.run(lookup.is_terminal(holder.job_id, holder.tenant))
        except JobNotFound:
            if blob:
                self._blobs.delete(holder.tenant, blob)

    def _ask(
        self, work: Work, holder: Holder, names: Sequence[str], missing: Mapping[str, str], *, holds: bool = True
    ) -> dict[str, str]:
        return self._store.run(
            units.take(work, holder, names, missing, holds=holds, ttl_s=self._ttl_s, note_ttl_s=self._note_ttl_s)
        )

    def _read(self, work: Work, holder: Holder, found: Mapping[str, str], known: dict[str, bytes]) -> dict[str, str]:
        """Adds the values that can be read; gives the blobs of the others."""
        missing = {}
        for name, blob in found.items():
            if blob in (units.OWN, units.ELSEWHERE):
                continue
            try:
                self._blobs.touch(holder.tenant, blob, self._ttl_s)
                data = self._blobs.read(holder.tenant, blob)
            except (TriptychError, OSError):
                data = b""
            if blob_name(data) == blob:
                known[name] = data[len(work.key) // 2 :]
            else:  # gone, or torn by a crash
                missing[name] = blob
        return missing
