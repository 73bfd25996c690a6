"""The SDK, both clients, against a real server that breaks when told to."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from client.standin import StandIn

from triptych.client import AsyncClient, Client, specs
from triptych.core import errors
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobResult
from triptych.v1.ocr_pb2 import OcrResult
from triptych.v1.ocr_service_pb2 import PagesFormat
from triptych.v1.reasoning_service_pb2 import Pipeline
from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.v1.transcription_service_pb2 import CueRules, TranscriptFormat
from triptych.v1.webhook_service_pb2 import Delivery, DeliveryState

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture(params=["blocking", "asyncio"])
async def ask(request: pytest.FixtureRequest, server: StandIn) -> AsyncIterator[Ask]:
    """Calls a method of either client; a stream comes as a list."""
    async with AsyncClient(server.target, api_key="k1") as client:
        blocking = Client(server.target, api_key="k1")

        async def awaited(method: str, *args: Any, **options: Any) -> Any:
            answer = getattr(client, method)(*args, **options)
            return [event async for event in answer] if inspect.isasyncgen(answer) else await answer

        def blocked(method: str, *args: Any, **options: Any) -> Any:
            answer = getattr(blocking, method)(*args, **options)
            return list(answer) if inspect.isgenerator(answer) else answer

        async def in_thread(method: str, *args: Any, **options: Any) -> Any:
            return await asyncio.to_thread(blocked, method, *args, **options)

        yield awaited if request.param == "asyncio" else in_thread
        blocking.close()


async def test_a_call_that_a_service_cut_off_when_it_went_away_says_nothing_about_the_job(
    server: StandIn, ask: Ask
) -> None:
    server.speech.hang = True
    call = asyncio.ensure_future(ask("transcribe", b"abc", timeout_s=50))
    await server.speech.called.wait()
    await server.stop()
    with pytest.raises(errors.BackendUnavailable):
        await call


async def test_a_small_input_travels_inline_with_key_deadline_and_request_id(server: StandIn, ask: Ask) -> None:
    result = await ask("transcribe", b"abc", timeout_s=50)
    assert result.text == "3 bytes"
    (request,) = server.speech.requests
    assert request.request_id
    assert server.speech.metadata[0]["authorization"] == "Bearer k1"
    assert 40 < server.speech.deadlines[0] < 51


async def test_a_large_input_is_uploaded(server: StandIn, ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(bytes(range(256)) * 8192)
    await ask("transcribe", path)
    (request,) = server.speech.requests
    assert server.blobs.stored[request.spec.input.blob] == path.read_bytes()
    assert request.spec.input.display_name == "long.wav"


async def test_inline_inputs_share_one_message_so_they_share_one_limit(server: StandIn, ask: Ask) -> None:
    sources = await ask("sources", [b"a" * 600_000, b"b" * 600_000, InputSource(uri="https://x/y")])
    assert [source.WhichOneof("source") for source in sources] == ["content", "blob", "uri"]


async def test_an_upload_goes_on_where_the_stream_broke(server: StandIn, ask: Ask) -> None:
    server.blobs.break_after_chunks = 3
    data = b"0123456789abcdef" * 100_000
    blob = await ask("upload", data)
    assert server.blobs.stored[blob.name] == data
    assert server.blobs.offsets == [0, 3 * 256 * 1024]


async def test_known_bytes_are_not_stored_twice(server: StandIn, ask: Ask) -> None:
    data = b"known" * 4_000_000
    name = server.blobs.put(data)
    # Several times: the answer comes while chunks are on their way, and must not get lost.
    for _ in range(5):
        assert (await ask("upload", data)).name == name
    assert server.blobs.chunks_received == 0


async def test_a_download_goes_on_where_the_stream_broke_and_is_checked(server: StandIn, ask: Ask) -> None:
    data = bytes(range(256)) * 2000
    name = server.blobs.put(data)
    server.blobs.break_download_after = 2
    assert await ask("download", name) == data
    server.blobs.stored[name] = b"other"
    with pytest.raises(errors.DigestMismatch):
        await ask("download", name)


async def test_a_document_is_purged_by_the_digest_of_its_bytes_and_a_tenant_as_a_whole(
    server: StandIn, ask: Ask, tmp_path: Path
) -> None:
    path = tmp_path / "secret.pdf"
    path.write_bytes(b"secret")
    name = server.blobs.put(b"secret")
    for document in (path, b"secret", InputSource(blob=name), InputSource(content=b"secret")):
        assert (await ask("purge_document", document)).blob_count == 14
    await ask("purge_tenant")
    assert [request.document for request in server.blobs.purges] == [name] * 4 + [""]
    assert [request.tenant for request in server.blobs.purges] == [False] * 4 + [True]


async def test_a_result_too_large_for_a_message_is_fetched(ask: Ask) -> None:
    result = await ask("recognize", b"%PDF-")
    assert len(result.pages[0].text) == 300_000


async def test_a_transcript_is_written_by_the_server(server: StandIn, ask: Ask) -> None:
    srt, rules = TranscriptFormat.TRANSCRIPT_FORMAT_SRT, CueRules(max_line_count=1)
    assert await ask("format_transcript", TranscriptionResult(text="Hello."), srt, rules) == "Hello.\n"
    (request,) = server.speech.requests
    assert (request.format, request.cue_rules) == (srt, rules)
    with pytest.raises(errors.JobNotFound, match="jobs/none"):
        await ask("format_transcript", "jobs/none", srt)


async def test_pages_are_written_by_the_server_and_fetched_if_they_are_many(server: StandIn, ask: Ask) -> None:
    read = OcrResult(pages=[{"page_number": 1, "text": "Hello."}])
    assert await ask("format_pages", read, PagesFormat.PAGES_FORMAT_TEXT) == b"Hello."
    pdf = PagesFormat.PAGES_FORMAT_SEARCHABLE_PDF
    assert await ask("format_pages", "jobs/1", pdf, b"scan") == b"%PDF-" + b"x" * 700_000
    text, made = server.ocr.formats
    assert (text.format, text.HasField("document"), made.format, made.document.content) == (
        PagesFormat.PAGES_FORMAT_TEXT, False, pdf, b"scan",
    )  # fmt: skip
    large = b"y" * (2 << 20)
    await ask("format_pages", "jobs/1", pdf, large)
    assert server.blobs.stored[server.ocr.formats[-1].document.blob] == large
    with pytest.raises(errors.JobNotFound, match="jobs/none"):
        await ask("format_pages", "jobs/none", pdf)


async def test_a_call_that_broke_after_its_job_began_joins_the_same_job(server: StandIn, ask: Ask) -> None:
    server.speech.drain_after_job = True
    await ask("transcribe", b"abc")
    first, second = server.speech.requests
    assert first.request_id == second.request_id


async def test_submit_is_retried_and_runs_once(server: StandIn, ask: Ask) -> None:
    server.jobs.submit_failures = 2
    job = await ask("submit", specs.transcription(InputSource(content=b"abc")))
    assert job.name == "jobs/1"
    assert server.jobs.submit_calls == 3


async def test_a_retry_gives_a_new_job_and_its_id_makes_it_safe_to_repeat(server: StandIn, ask: Ask) -> None:
    old = await ask("submit", specs.transcription(InputSource(content=b"abc")))
    again = [await ask("retry_job", old.name, request_id="r1") for _ in range(2)]
    assert [job.name for job in again] == ["jobs/2", "jobs/2"]
    assert server.jobs.retried == ["jobs/1", "jobs/1"]


async def test_a_broken_watch_goes_on_after_the_last_event(server: StandIn, ask: Ask) -> None:
    server.jobs.break_watch_after = 2
    events = await ask("watch_job", "jobs/1")
    assert [event.cursor for event in events] == ["1", "2", "3", "4"]
    assert server.jobs.cursors == ["", "2"]


async def test_a_watch_whose_cursor_expired_begins_anew(server: StandIn, ask: Ask) -> None:
    server.jobs.expire_cursors = True
    events = await ask("watch_job", "jobs/1", after_cursor="1")
    assert [event.cursor for event in events] == ["1", "2", "3", "4"]
    assert server.jobs.cursors == ["1", ""]


async def test_waiting_gives_the_outcome(server: StandIn, ask: Ask) -> None:
    job = await ask("wait_job", "jobs/1", timeout_s=5)
    assert (await ask("result", job)).transcription.text == "hello"


async def test_a_large_outcome_of_a_job_is_fetched(server: StandIn, ask: Ask) -> None:
    large = JobResult(transcription={"text": "long"})
    server.jobs.outcome = {"result_blob": server.blobs.put(large.SerializeToString())}
    job = await ask("wait_job", "jobs/1")
    assert await ask("result", job) == large


async def test_a_failed_job_raises_its_own_error(server: StandIn, ask: Ask) -> None:
    server.jobs.outcome = {"error": errors.MediaCorrupt("not a WAV").to_status()}
    job = await ask("wait_job", "jobs/1")
    with pytest.raises(errors.MediaCorrupt, match="not a WAV") as raised:
        await ask("result", job)
    assert raised.value.metadata["job"] == "jobs/1"


async def test_the_servers_error_arrives_as_its_class(server: StandIn, ask: Ask) -> None:
    server.speech.refuse_key = True
    with pytest.raises(errors.ApiKeyInvalid, match="unknown key"):
        await ask("transcribe", b"abc")
    with pytest.raises(errors.JobNotFound):
        await ask("get_job", "jobs/none")


async def test_a_deadline_that_passes_still_names_the_job(server: StandIn, ask: Ask) -> None:
    server.speech.hang = True
    with pytest.raises(errors.TimedOut) as raised:
        await ask("transcribe", b"abc", timeout_s=2)
    assert raised.value.metadata["job"] == "jobs/7"


async def test_pages_of_lists_are_joined(server: StandIn, ask: Ask) -> None:
    for _ in range(5):
        await ask("submit", specs.transcription(InputSource(content=b"abc")))
    assert len(await ask("list_jobs")) == 5
    assert len(await ask("list_jobs", limit=3)) == 3
    assert [model.name for model in await ask("models")] == ["a", "b", "c"]
    assert (await ask("server_info")).version == "9.9"


async def test_a_file_that_is_not_there_is_a_wrong_field(ask: Ask) -> None:
    with pytest.raises(errors.FieldInvalid, match=r"none\.wav"):
        await ask("transcribe", "none.wav")


async def test_nobody_listening_is_said_with_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
    async with AsyncClient(target) as client:
        with pytest.raises(errors.BackendUnavailable, match="cannot reach") as raised:
            await client.server_info()
    assert raised.value.metadata["target"] == target


def test_both_clients_have_the_same_methods() -> None:
    def signatures(cls: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(cls).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }

    assert signatures(Client) == signatures(AsyncClient)


async def test_pipelines_are_listed_and_named_with_their_schema(server: StandIn, ask: Ask) -> None:
    server.reasoning.pipelines = [Pipeline(name="own", custom=True)]
    assert [pipeline.name for pipeline in await ask("pipelines")] == ["own"]
    spec = specs.reasoning("", [], output_json_schema={"type": "object"}, pipeline="own").reasoning
    assert (spec.pipeline, spec.output_json_schema) == ("own", '{"type": "object"}')


async def test_deliveries_are_listed_over_pages_replayed_and_dropped(server: StandIn, ask: Ask) -> None:
    dead, waiting = DeliveryState.DELIVERY_STATE_DEAD, DeliveryState.DELIVERY_STATE_WAITING
    states = [dead, waiting, dead, dead]
    server.webhooks.deliveries = [Delivery(name=f"deliveries/{n}", state=state) for n, state in enumerate(states)]
    assert [each.name for each in await ask("list_deliveries")] == [f"deliveries/{n}" for n in range(4)]
    assert [each.name for each in await ask("list_deliveries", dead, limit=2)] == ["deliveries/0", "deliveries/2"]
    assert (await ask("replay_delivery", "deliveries/3")).state == waiting
    await ask("delete_delivery", "deliveries/0")
    assert [each.name for each in await ask("list_deliveries", dead)] == ["deliveries/2"]
    with pytest.raises(errors.DeliveryNotFound):
        await ask("replay_delivery", "deliveries/0")
