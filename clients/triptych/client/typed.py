"""Runs a job by the typed call of its kind and waits for the result."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

from triptych.client import blobs
from triptych.client.steps import Call, Flow, Pause, backoff_s
from triptych.core.errors import TimedOut, Unavailable
from triptych.v1.job_pb2 import JobOptions, JobResult, JobSpec
from triptych.v1.ocr_service_pb2 import RecognizeRequest
from triptych.v1.reasoning_service_pb2 import AnswerRequest
from triptych.v1.transcription_service_pb2 import TranscribeRequest
from triptych.v1.vision_service_pb2 import GenerateRequest

MAX_FAILURES = 5

# Case of the specification and of the result -> who runs it.
_CALLS: dict[str, tuple[str, str, Any]] = {
    "transcription": ("TranscriptionService", "Transcribe", TranscribeRequest),
    "ocr": ("OcrService", "Recognize", RecognizeRequest),
    "vision": ("VisionService", "Generate", GenerateRequest),
    "reasoning": ("ReasoningService", "Answer", AnswerRequest),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How one blocking call is made."""

    options: JobOptions | None
    request_id: str
    timeout_s: float


def run(spec: JobSpec, terms: Terms) -> Flow[JobResult]:
    """Makes a blocking call; one that broke after its job had begun is made again and joins that job.

    gRPC's own retries end where the server has said the job's name, so that case is ours.

    Raises:
        TimedOut: No result in time; `metadata["job"]` names the job.
        TriptychError: What the server said, or the error with which the job failed.
    """
    case = spec.WhichOneof("spec")
    assert case is not None
    service, method, request_type = _CALLS[case]
    request = request_type(
        spec=getattr(spec, case), options=terms.options, request_id=terms.request_id or str(uuid.uuid4())
    )
    end, failures = time.monotonic() + terms.timeout_s, 0
    while True:
        left_s = end - time.monotonic()
        if left_s <= 0:
            raise TimedOut(f"no result after {terms.timeout_s:g} s")
        try:
            response = yield Call(service=service, method=method, request=request, timeout_s=left_s)
            break
        except Unavailable as error:
            failures += 1
            if "job" not in error.metadata or failures > MAX_FAILURES:
                raise
            pause_s = error.retry_after_s or backoff_s(failures)
        yield Pause(seconds=min(left_s, pause_s))
    if response.WhichOneof("outcome") == "result_blob":
        return JobResult.FromString((yield from blobs.read(response.result_blob)))
    result: Any = {case: response.result}
    return JobResult(**result)
