"""From a request to a job: checks everything that can be known at once, then submits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass

from triptych.core import load, lookup
from triptych.core.errors import FieldInvalid, ModelNotFound, NoWorker
from triptych.core.media import AUDIO_TYPES
from triptych.core.offered import check_offered
from triptych.core.records import KINDS, JobRecord
from triptych.core.submission import Submittal
from triptych.services.backend import Backend
from triptych.services.caller import Caller
from triptych.services.fields import caller_id, duration, few, known_enums, need
from triptych.services.inputs import check_inputs
from triptych.services.specs import check_spec
from triptych.v1.job_pb2 import JobOptions, JobPriority, JobSpec

_LABEL = re.compile(r"[a-z][a-z0-9_.-]{0,62}\Z")
_YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A job as a request describes it.

    Attributes:
        path: Field that holds the kind's own specification, for error messages.
        waits: Whether the caller waits for it.
    """

    spec: JobSpec
    options: JobOptions
    request_id: str
    path: str
    waits: bool


class Intake:
    """Accepts jobs for all services."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def check(self, wanted: Wanted, caller: Caller) -> None:
        """Checks a request.

        Raises:
            InvalidInput, NotFound, PermissionDenied: The request can never succeed as it is.
            NoWorker: The caller waits, and nobody serves this kind of job.
            BackendUnavailable: Redis cannot be reached.
        """
        # Reading heads of blobs and checking schemas blocks.
        types = await asyncio.to_thread(self._check, wanted, caller)
        if wanted.waits:
            await self._need_workers(wanted, caller, types)

    async def submit(self, wanted: Wanted, caller: Caller) -> JobRecord:
        """Checks a request and makes it a job, or gives the job that the same request_id made before.

        Raises:
            TriptychError: As `check`, and RequestIdReused, QueueFull.
        """
        await self.check(wanted, caller)
        lane = JobPriority.JOB_PRIORITY_INTERACTIVE if wanted.waits else JobPriority.JOB_PRIORITY_NORMAL
        submittal = Submittal(
            tenant=caller.tenant,
            spec=wanted.spec,
            options=wanted.options,
            default_priority=lane,
            request_id=wanted.request_id,
            trace_id=caller.trace_id,
        )
        return await self._backend.submission.submit(submittal)

    async def _need_workers(self, wanted: Wanted, caller: Caller, types: list[str]) -> None:
        store = self._backend.store
        for kind in _kinds_needed(str(wanted.spec.WhichOneof("spec")), types):
            if not await store.run(load.live_workers(kind)):
                # A repeated call joins its job, which has perhaps ended long ago.
                if wanted.request_id != "" and await store.run(lookup.is_known(caller.tenant, wanted.request_id)):
                    return
                raise NoWorker(f"no live worker serves {kind} jobs; SubmitJob would wait for one")

    def _check(self, wanted: Wanted, caller: Caller) -> list[str]:
        settings = self._backend.settings
        if wanted.request_id:
            caller_id(wanted.request_id, "request_id")
        self._check_options(wanted.options)
        known_enums(wanted.options, "options")
        check_spec(wanted.spec, wanted.path, settings)
        check_offered(wanted.spec)
        known_enums(getattr(wanted.spec, str(wanted.spec.WhichOneof("spec"))), wanted.path)
        for kind, name, field in _models(wanted.spec, wanted.path):
            self._check_model(kind, name, field)
        return check_inputs(wanted.spec, wanted.path, caller.tenant, self._backend.blobs, settings)

    def _check_options(self, options: JobOptions) -> None:
        duration(options, "result_ttl", 60, self._backend.settings.max_result_ttl_s, "options")
        for name in ("queue_timeout", "execution_timeout"):
            duration(options, name, 0.001, _YEAR_S, "options")
        few(len(options.labels), 0, 16, "options.labels")
        for key, value in options.labels.items():
            need(bool(_LABEL.match(key)), "options.labels", f"{key[:70]!r} does not match [a-z][a-z0-9_.-]{{0,62}}")
            need(len(value) <= 63, f"options.labels[{key!r}]", "has more than 63 code points")

    def _check_model(self, kind: str, name: str, field: str) -> None:
        try:
            entry = self._backend.catalog.get(name)
        except ModelNotFound as error:
            error.metadata["field"] = field
            raise
        if entry.kind != KINDS[kind]:
            raise FieldInvalid(field, f"{name!r} serves {entry.kind_name} jobs, not {kind} jobs")


def _models(spec: JobSpec, path: str) -> Iterator[tuple[str, str, str]]:
    """Yields (kind, model, field) for every model that the specification names."""
    kind = str(spec.WhichOneof("spec"))
    named: tuple[tuple[str, str, str], ...]
    if kind == "reasoning":
        config = spec.reasoning.config
        named = (
            ("ocr", config.ocr.model, f"{path}.config.ocr.model"),
            ("transcription", config.transcription.model, f"{path}.config.transcription.model"),
            ("vision", config.generation.model, f"{path}.config.generation.model"),
        )
    else:
        named = ((kind, getattr(spec, kind).config.model, f"{path}.config.model"),)
    yield from (each for each in named if each[1])


def _kinds_needed(kind: str, types: list[str]) -> list[str]:
    """The kinds of workers without which the job would only wait; a worker loads the model that is wanted."""
    if kind != "reasoning":
        return [kind]
    children = {"transcription" if media_type in AUDIO_TYPES else "ocr" for media_type in types}
    return [kind, "vision", *sorted(children)]
