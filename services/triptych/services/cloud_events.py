"""What a webhook is told: a CloudEvents 1.0 message in JSON, and the headers that say whose it is."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict

from triptych.core.records import JobRecord
from triptych.core.signatures import signature
from triptych.v1.job_pb2 import JobState, JobView

CONTENT_TYPE = "application/cloudevents+json"
SOURCE = "triptych"
_TYPES = {
    JobState.JOB_STATE_SUCCEEDED: "triptych.job.succeeded",
    JobState.JOB_STATE_FAILED: "triptych.job.failed",
    JobState.JOB_STATE_CANCELLED: "triptych.job.cancelled",
}


def body_of(record: JobRecord) -> bytes:
    """Gives the message about an ended job, the same bytes at every attempt: nothing but the record goes in.

    The job is told as JOB_VIEW_BASIC shows it. Its result may be large and is nobody else's: who wants it asks for it.
    """
    job = record.to_job(JobView.JOB_VIEW_BASIC)
    event = {
        "specversion": "1.0",
        "id": record.id,
        "source": SOURCE,
        "type": _TYPES[record.state],
        "subject": job.name,
        "time": job.end_time.ToJsonString(),
        "datacontenttype": "application/json",
        "data": MessageToDict(job, preserving_proto_field_name=True),
    }
    # Maps of protobuf have no order of their own.
    return json.dumps(event, sort_keys=True, separators=(",", ":")).encode()


def headers_of(message_id: str, body: bytes, secrets: Sequence[bytes]) -> list[tuple[str, str]]:
    """Gives the headers of one attempt, signed now with each of the secrets."""
    timestamp = str(int(time.time()))
    return [
        ("content-type", CONTENT_TYPE),
        ("user-agent", "triptych"),
        ("webhook-id", message_id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", " ".join(signature(secret, message_id, timestamp, body) for secret in secrets)),
    ]
