"""The message about a job: the same bytes for the same job, today and after an update between two attempts."""

from triptych.core.errors import MediaCorrupt
from triptych.core.records import JobRecord
from triptych.services.cloud_events import body_of
from triptych.v1.job_pb2 import JobState

RECORD = JobRecord(
    id="019ab9c2-7d3e-7c1a-9f55-2b1d6e0c4a11", tenant="acme", kind="ocr", lane=1, state=JobState.JOB_STATE_FAILED,
    attempt=2, labels={"b": "ü", "a": "1"}, error=MediaCorrupt("page 1 is none").to_status().SerializeToString(),
    spec=b"secret", result=b"secret", create_ms=1_795_577_532_000, end_ms=1_795_577_532_345,
)  # fmt: skip


def test_the_message_about_a_job_is_these_bytes():
    assert body_of(RECORD).decode() == (
        '{"data":{"attempt":2,"create_time":"2026-11-25T03:32:12Z","end_time":"2026-11-25T03:32:12.345Z",'
        '"error":{"code":3,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"triptych",'
        '"reason":"MEDIA_CORRUPT"}],"message":"page 1 is none"},"kind":"JOB_KIND_OCR","labels":{"a":"1","b":"\\u00fc"},'
        '"name":"jobs/019ab9c2-7d3e-7c1a-9f55-2b1d6e0c4a11","priority":"JOB_PRIORITY_NORMAL",'
        '"state":"JOB_STATE_FAILED"},"datacontenttype":"application/json",'
        '"id":"019ab9c2-7d3e-7c1a-9f55-2b1d6e0c4a11","source":"triptych","specversion":"1.0",'
        '"subject":"jobs/019ab9c2-7d3e-7c1a-9f55-2b1d6e0c4a11","time":"2026-11-25T03:32:12.345Z",'
        '"type":"triptych.job.failed"}'
    )
