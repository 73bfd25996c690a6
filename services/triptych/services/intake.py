"""From a request to a job: checks everything that can be known at once, then submits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass

from triptych.core import load, lookup
from triptych.core.document_types import DOCUMENT_TYPES
from triptych.core.errors import FieldInvalid, HostExhausted, ModelNotFound, NoWorker
from triptych.core.media import AUDIO_TYPES
from triptych.core.offered import check_offered
from triptych.core.pipelines.requests import applied, chosen
from triptych.core.records import KINDS, JobRecord
from triptych.core.sources import inputs
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
        call_timeout_s: Until the deadline of its call, if it shall not outlive that; 0: it may.
        retry_of: Id of the job that is run again; empty if it is a new one.
        webhook: URL that was told of that job's end; empty: the options or the operator say.
        passing: Whether it is a step of a call that nobody else shall see: no webhook is told of its end, and its input
            is kept no longer than it may run.
    """

    spec: JobSpec
    options: JobOptions
    request_id: str
    path: str
    waits: bool
    call_timeout_s: float = 0
    retry_of: str = ""
    webhook: str = ""
    passing: bool = False


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
            TriptychError: As `check`, and RequestIdReused, QueueFull, HostExhausted.
        """
        await self.check(wanted, caller)
        await self._need_room(wanted, caller)
        lane = JobPriority.JOB_PRIORITY_INTERACTIVE if wanted.waits else JobPriority.JOB_PRIORITY_NORMAL
        submittal = Submittal(
            tenant=caller.tenant,
            spec=wanted.spec,
            options=wanted.options,
            default_priority=lane,
            request_id=wanted.request_id,
            trace_id=caller.trace_id,
            call_timeout_s=wanted.call_timeout_s,
            webhook="" if wanted.passing else self._webhook(wanted, caller),
            retry_of=wanted.retry_of,
            keep_inputs=not wanted.passing,
        )
        return await self._backend.submission.submit(submittal)

    def _webhook(self, wanted: Wanted, caller: Caller) -> str:
        return wanted.webhook or wanted.options.webhook.url or self._backend.webhooks.url_for(caller.tenant)

    async def _need_workers(self, wanted: Wanted, caller: Caller, types: list[str]) -> None:
        store = self._backend.store
        for kind in _kinds_needed(str(wanted.spec.WhichOneof("spec")), types):
            if not await store.run(load.live_workers(kind)):
                if await self._is_repeated(wanted, caller):
                    return
                raise NoWorker(f"no live worker serves {kind} jobs; SubmitJob would wait for one")

    async def _need_room(self, wanted: Wanted, caller: Caller) -> None:
        try:
            await self._backend.watermarks.admit_job(sum(len(source.content) for _, source in inputs(wanted.spec)))
        except HostExhausted:
            if not await self._is_repeated(wanted, caller):
                raise

    async def _is_repeated(self, wanted: Wanted, caller: Caller) -> bool:
        """Whether the call joins a job, which needs nothing more and has perhaps ended long ago."""
        known = lookup.is_known(caller.tenant, wanted.request_id)
        return wanted.request_id != "" and await self._backend.store.run(known)

    def _check(self, wanted: Wanted, caller: Caller) -> list[str]:
        settings = self._backend.settings
        if wanted.request_id:
            caller_id(wanted.request_id, "request_id")
        self._check_options(wanted.options, caller.tenant)
        known_enums(wanted.options, "options")
        spec = self._as_it_runs(wanted)
        check_spec(spec, wanted.path, settings)
        check_offered(spec)
        known_enums(getattr(spec, str(spec.WhichOneof("spec"))), wanted.path)
        for kind, name, field in _models(spec, wanted.path):
            self._check_model(kind, name, field)
            if self._backend.catalog.get(name).remote:
                self._backend.policy.allowed(caller.tenant, wanted.options.data_class, name)
        return check_inputs(wanted.spec, wanted.path, caller.tenant, self._backend.blobs, settings)

    def _as_it_runs(self, wanted: Wanted) -> JobSpec:
        """Gives the specification with what its pipeline says. What is kept is the request's own: files may change."""
        if wanted.spec.WhichOneof("spec") != "reasoning":
            return wanted.spec
        plan = chosen(wanted.spec.reasoning, self._backend.pipelines, wanted.path)
        return JobSpec(reasoning=applied(wanted.spec.reasoning, plan))

    def _check_options(self, options: JobOptions, tenant: str) -> None:
        duration(options, "result_ttl", 60, self._backend.settings.max_result_ttl_s, "options")
        for name in ("queue_timeout", "execution_timeout"):
            duration(options, name, 0.001, _YEAR_S, "options")
        few(len(options.labels), 0, 16, "options.labels")
        for key, value in options.labels.items():
            need(bool(_LABEL.match(key)), "options.labels", f"{key[:70]!r} does not match [a-z][a-z0-9_.-]{{0,62}}")
            need(len(value) <= 63, f"options.labels[{key!r}]", "has more than 63 code points")
        if options.HasField("webhook"):
            self._backend.webhooks.check(options.webhook.url, tenant, "options.webhook.url")

    def _check_model(self, kind: str, name: str, field: str) -> None:
        try:
            entry = self._backend.catalog.get(name, KINDS[kind])
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
    # What is in an archive or a message, only its reader sees.
    seen = [media_type for media_type in types if media_type not in DOCUMENT_TYPES]
    children = {"transcription" if media_type in AUDIO_TYPES else "ocr" for media_type in seen}
    return [kind, "vision", *sorted(children)]
