"""Live calls over a real server and a real queue: what is told, what is left behind, and how a call ends."""

import asyncio
import io
import wave

import grpc
import pytest
from pydantic import SecretStr
from services.live.conftest import WORD_MS, silence, speak

from triptych.core.errors import HostExhausted, LanguageUnsupported, QueueTimeout, WorkerLost
from triptych.core.records import LANES
from triptych.v1.common_pb2 import TimeRange
from triptych.v1.job_pb2 import CACHE_POLICY_BYPASS, JobPriority, JobState
from triptych.v1.job_service_pb2 import GetJobRequest, ListJobsRequest
from triptych.v1.transcription_pb2 import (
    CHANNEL_MODE_MIX,
    VAD_MODE_OFF,
    WINDOW_MODE_SHORT,
    SpeakerConfig,
    TranscriptionConfig,
)
from triptych.v1.transcription_service_pb2 import (
    LIVE_ENCODING_OPUS,
    LIVE_ENCODING_PCM_F32LE,
    Endpointing,
    LiveConfig,
    LiveTranscribeRequest,
)

S = JobState


async def test_words_are_told_while_they_are_spoken_and_settle(client, hearer, live_call):
    caller = await live_call(client)
    started = await caller.until("started")
    assert (started.endpointing.silence_ms, started.endpointing.max_utterance_ms) == (700, 10_000)
    await caller.send(speak(1, 2))
    first = await caller.heard(["w1", "w2"])
    assert (first.utterance, first.start_ms, first.language_code) == (0, 0, "en")
    assert first.end_ms == 2 * WORD_MS
    await caller.send(speak(3))
    second = await caller.heard(["w1", "w2", "w3"])
    assert second.stable_text == "w1 w2"
    assert second.unstable_text == " w3"
    [final] = await caller.rest()
    assert (final.utterance, final.result.text) == (0, "w1 w2 w3")
    assert await caller.call.code() == grpc.StatusCode.OK


async def test_times_are_on_the_clock_of_the_call(client, hearer, live_call):
    caller = await live_call(client, config=TranscriptionConfig(enable_word_timestamps=True))
    await caller.send(silence(3000) + speak(1, 2) + silence(2000) + speak(3) + silence(1500))
    finals = await caller.rest()
    assert [final.result.text for final in finals] == ["w1 w2", "w3"]
    assert [final.utterance for final in finals] == [0, 1]
    assert [segment.index for final in finals for segment in final.result.segments] == [0, 1]
    words = [word for final in finals for segment in final.result.segments for word in segment.words]
    assert [(word.text, word.start_ms, word.end_ms) for word in words] == [
        ("w1", 3000, 3500),
        ("w2", 3500, 4000),
        ("w3", 6000, 6500),
    ]
    assert [(each.start_ms, each.end_ms) for final in finals for each in final.result.speech] == [
        (2600, 4400),
        (5600, 6900),
    ]


async def test_an_utterance_ends_with_silence_and_the_call_goes_on(client, hearer, live_call):
    caller = await live_call(client, endpointing=Endpointing(silence_ms=500))
    await caller.send(speak(1) + silence(600))
    assert (await caller.until("final")).result.text == "w1"
    await caller.send(silence(5000) + speak(2) + silence(600))
    final = await caller.until("final")
    assert (final.utterance, final.result.text) == (1, "w2")
    assert await caller.rest() == caller.finals()


async def test_one_that_goes_on_is_cut_at_a_settled_word_and_no_word_is_lost(client, hearer, live_call):
    caller = await live_call(client, endpointing=Endpointing(max_utterance_ms=5000))
    spoken = range(1, 31)
    for word in spoken:
        await caller.send(speak(word))
        await caller.heard_of(word)
    finals = await caller.rest()
    assert len(finals) >= 3
    assert " ".join(final.result.text for final in finals).split() == [f"w{word}" for word in spoken]
    for final in finals:
        assert final.result.audio_duration_ms <= 5000


async def test_a_file_sent_at_once_is_heard_whole(client, hearer, live_call):
    caller = await live_call(client)
    spoken = [speak(*range(n, n + 5)) + silence(1200) for n in range(1, 101, 5)]
    sending = asyncio.create_task(caller.send(b"".join(spoken), piece_ms=2000))
    while not sending.done():
        await caller.until("interim")
    finals = await caller.rest()
    assert " ".join(final.result.text for final in finals).split() == [f"w{n}" for n in range(1, 101)]
    starts = [segment.start_ms for final in finals for segment in final.result.segments]
    assert starts == [n * (5 * WORD_MS + 1200) for n in range(20)]


async def test_nothing_is_told_of_silence(client, hearer, live_call):
    caller = await live_call(client)
    await caller.send(silence(20_000))
    assert await caller.rest() == []
    assert [event.WhichOneof("event") for event in caller.told] == ["started"]
    # What was heard is not heard again.
    assert sum(duration_ms(wav) for _, wav in hearer.jobs) <= 60_000


async def test_interim_results_are_sent_to_those_who_want_them(client, hearer, live_call):
    caller = await live_call(client, interim_results=False)
    await caller.send(speak(1, 2) + silence(1000))
    assert [final.result.text for final in await caller.rest()] == ["w1 w2"]
    assert caller.interims() == []


async def test_finals_are_ordinary_jobs_and_looks_leave_nothing_behind(client, hearer, live_call, eventually):
    wanted = TranscriptionConfig(beam_size=3, hotwords=["w1"])
    caller = await live_call(client, config=wanted, labels={"room": "7"})
    await caller.send(speak(1, 2) + silence(1000))
    [final] = await caller.rest()
    job = (await client.jobs.GetJob(GetJobRequest(name=final.job))).job
    assert (job.state, job.priority) == (S.JOB_STATE_SUCCEEDED, JobPriority.JOB_PRIORITY_INTERACTIVE)
    assert dict(job.labels) == {"room": "7"}
    spec = job.spec.transcription
    assert (spec.config.beam_size, spec.config.window_mode) == (3, WINDOW_MODE_SHORT)
    looks = [record for record, _ in hearer.jobs if hearer.is_look(record)]
    for look in looks:
        heard = look.job_spec().transcription.config
        assert (heard.temperature, heard.hotwords, heard.enable_word_timestamps) == (0, ["w1"], True)
        assert look.cache_policy == CACHE_POLICY_BYPASS
        assert LANES[look.lane] == JobPriority.JOB_PRIORITY_INTERACTIVE

    async def only_the_final_is_left():
        listed = (await client.jobs.ListJobs(ListJobsRequest())).jobs
        blobs = await asyncio.to_thread(hearer.blobs.names, "default")
        return [each.name for each in listed] == [final.job] and blobs == {spec.input.blob}

    await eventually(only_the_final_is_left)


async def test_looks_at_the_same_silence_of_two_calls_do_not_share_bytes(client, hearer, live_call):
    callers = [await live_call(client) for _ in range(2)]
    for caller in callers:
        await caller.send(silence(2000))
    assert [await caller.rest() for caller in callers] == [[], []]
    blobs = [hearer.blob_of(record) for record, _ in hearer.jobs]
    assert len(set(blobs)) == len(blobs)


async def test_looks_are_told_to_no_webhook(serve, hearer, live_call, store):
    _, client = await serve(
        webhook_hosts=["hooks.example.com"],
        webhook_secrets={"default": SecretStr("whsec_" + "A" * 32)},
        webhooks={"default": "https://hooks.example.com/"},
    )
    caller = await live_call(client)
    await caller.send(speak(1))
    [final] = await caller.rest()
    told = {record.id: record.webhook for record, _ in hearer.jobs}
    assert told.pop(final.job.removeprefix("jobs/")) == "https://hooks.example.com/"
    assert set(told.values()) == {""}


async def test_what_passes_costs_a_look_and_not_the_call(client, hearer, live_call):
    full = HostExhausted("full", resource="disk", free_bytes=0, wanted_bytes=1)
    full.retry_after_s = 0.05
    hearer.errors = [full, QueueTimeout("late")]
    caller = await live_call(client)
    await caller.send(speak(1, 2))
    await caller.heard(["w1", "w2"])
    hearer.errors = [full]
    assert [final.result.text for final in await caller.rest()] == ["w1 w2"]


@pytest.mark.parametrize("error", [LanguageUnsupported("no such language"), WorkerLost("again and again")])
async def test_what_does_not_pass_ends_the_call(client, hearer, live_call, fails, error):
    hearer.errors = [error]
    caller = await live_call(client)
    await caller.send(speak(1))
    failed = await fails(caller.call)
    assert failed.reason == error.reason
    assert failed.error.metadata["job"].startswith("jobs/")


async def test_a_lost_worker_costs_a_repeat_and_not_the_call(client, hearer, live_call):
    hearer.loses = lambda record: record.attempt == 1 and len(hearer.jobs) == 1
    hearer.worker.lease_s = 0.3
    caller = await live_call(client)
    await caller.send(speak(1, 2))
    lost = await hearer.claimed()
    hearer.worker.lease_s = 10
    # Its lease ends, and the caretaker of the server hands the job out again.
    await caller.heard(["w1", "w2"])
    again, _ = hearer.jobs[1]
    assert (again.id, again.attempt) == (lost.id, 2)


async def test_a_caller_who_goes_away_leaves_no_job_running(client, hearer, worker, live_call, eventually):
    hearer.holds = lambda _record: True
    caller = await live_call(client)
    await caller.send(speak(1))
    running = await hearer.claimed()
    caller.call.cancel()
    assert await worker.cancelled(running) == S.JOB_STATE_CANCELLING


async def test_the_deadline_of_a_call_is_told_before_it_passes(client, hearer, worker, live_call, fails):
    hearer.holds = lambda _record: True
    caller = await live_call(client, within_s=3)
    await caller.send(speak(1))
    failed = await fails(caller.call)
    assert (failed.code, failed.reason) == ("DEADLINE_EXCEEDED", "CALL_TIMEOUT")
    assert await worker.cancelled(hearer.jobs[0][0]) == S.JOB_STATE_CANCELLING


async def test_a_call_without_audio_ends_with_what_was_said(serve, hearer, live_call, fails):
    _, client = await serve(live_idle_s=1)
    caller = await live_call(client)
    await caller.send(speak(1, 2))
    assert (await caller.until("final")).result.text == "w1 w2"
    failed = await fails(caller.call)
    assert (failed.code, failed.reason) == ("DEADLINE_EXCEEDED", "AUDIO_TIMEOUT")


async def test_a_call_without_a_configuration_ends(serve, worker, fails):
    _, client = await serve(live_idle_s=0.2)
    call = client.transcription.LiveTranscribe()
    failed = await fails(call)
    assert failed.reason == "AUDIO_TIMEOUT"


async def test_in_silence_there_are_signs_of_life(serve, hearer, live_call):
    _, client = await serve(heartbeat_s=0.1)
    caller = await live_call(client)
    await caller.until("heartbeat")
    hearer.holds = lambda _record: True
    await caller.send(speak(1))
    await caller.until("heartbeat")
    hearer.go.set()
    assert [final.result.text for final in await caller.rest()] == ["w1"]


async def test_a_server_that_shuts_down_says_from_where_to_go_on(serve, hearer, live_call, fails):
    server, client = await serve()
    caller = await live_call(client)
    await caller.send(silence(1000) + speak(1) + silence(1500) + speak(2))
    await caller.until("final")
    await caller.heard(["w2"])
    stopping = asyncio.create_task(server.stop())
    failed = await fails(caller.call)
    await stopping
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "SERVER_DRAINING")
    assert failed.error.metadata["resume_ms"] == str(3000 - 400)


async def test_a_server_that_shuts_down_tells_the_final_it_waits_for(serve, hearer, live_call, fails):
    server, client = await serve(drain_s=20)
    hearer.holds = lambda record: not hearer.is_look(record)
    caller = await live_call(client)
    await caller.send(speak(1) + silence(1500))
    await hearer.claimed(hearer.holds)
    stopping = asyncio.create_task(server.stop())
    refused = await fails(client.transcription.LiveTranscribe())
    assert refused.reason == "SERVER_DRAINING"
    hearer.go.set()
    assert (await caller.until("final")).result.text == "w1"
    failed = await fails(caller.call)
    await stopping
    assert (failed.reason, failed.error.metadata["resume_ms"]) == ("SERVER_DRAINING", "900")


async def test_without_a_worker_nobody_speaks_in_vain(client, store, live_call, fails):
    caller = await live_call(client)
    assert (await fails(caller.call)).reason == "NO_WORKER"


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("config.encoding", {"encoding": 0}),
        ("config.encoding", {"encoding": 77}),
        ("config.sample_rate_hz", {"sample_rate_hz": 0}),
        ("config.sample_rate_hz", {"sample_rate_hz": 7999}),
        ("config.sample_rate_hz", {"sample_rate_hz": 192_001}),
        ("config.sample_rate_hz", {"encoding": LIVE_ENCODING_OPUS, "sample_rate_hz": 16_000}),
        ("config.channel_count", {"channel_count": 9}),
        ("config.channel_count", {"channel_count": -1}),
        ("config.channel_count", {"encoding": LIVE_ENCODING_OPUS, "sample_rate_hz": 0, "channel_count": 3}),
        ("config.endpointing.silence_ms", {"endpointing": Endpointing(silence_ms=399)}),
        ("config.endpointing.max_utterance_ms", {"endpointing": Endpointing(max_utterance_ms=28_001)}),
        ("config.config.clips", {"config": TranscriptionConfig(clips=[TimeRange(end_ms=5)])}),
        ("config.config.audio_stream", {"config": TranscriptionConfig(audio_stream=0)}),
        ("config.config.channel_mode", {"config": TranscriptionConfig(channel_mode=CHANNEL_MODE_MIX)}),
        ("config.config.speakers", {"config": TranscriptionConfig(speakers=SpeakerConfig())}),
        ("config.config.vad_mode", {"config": TranscriptionConfig(vad_mode=VAD_MODE_OFF)}),
        ("config.config.beam_size", {"config": TranscriptionConfig(beam_size=11)}),
        ("config.config.language_code", {"config": TranscriptionConfig(language_code="no language")}),
        ("options.labels", {"labels": {"UPPER": "x"}}),
    ],
)
async def test_a_wrong_configuration_is_refused_at_once(client, worker, live_call, fails, field, wrong):
    failed = await fails((await live_call(client, **wrong)).call)
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert failed.error.metadata["field"] == field


async def test_an_unknown_model_is_refused_at_once(client, worker, live_call, fails):
    caller = await live_call(client, config=TranscriptionConfig(model="nobody"))
    assert (await fails(caller.call)).reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("config", LiveTranscribeRequest(config=LiveConfig())),
        ("config", LiveTranscribeRequest()),
        ("audio", LiveTranscribeRequest(audio=b"odd")),
        ("audio", LiveTranscribeRequest(audio=bytes(256 * 1024 + 2))),
    ],
    ids=["second-config", "nothing", "odd", "long"],
)
async def test_a_wrong_message_is_refused_at_once(client, hearer, live_call, fails, field, message):
    hearer.holds = lambda _record: True
    caller = await live_call(client)
    await caller.send(speak(1, 2))
    await caller.write(message)
    failed = await fails(caller.call)
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert failed.error.metadata["field"] == field


async def test_audio_must_not_come_first(client, worker, fails):
    call = client.transcription.LiveTranscribe()
    await call.write(LiveTranscribeRequest(audio=bytes(100)))
    failed = await fails(call)
    assert (failed.reason, failed.error.metadata["field"]) == ("FIELD_INVALID", "config")


async def test_a_call_that_ends_before_it_began_is_refused(client, worker, fails):
    call = client.transcription.LiveTranscribe()
    await call.done_writing()
    assert (await fails(call)).error.metadata["field"] == "config"


@pytest.mark.parametrize(
    ("encoding", "message"),
    [(LIVE_ENCODING_OPUS, b"\xff" * 40), (LIVE_ENCODING_PCM_F32LE, b"\xff" * 40)],
    ids=["opus", "nan"],
)
async def test_audio_that_is_none_is_a_reason(client, worker, live_call, fails, encoding, message):
    caller = await live_call(client, encoding=encoding, sample_rate_hz=48_000)
    await caller.write(LiveTranscribeRequest(audio=message))
    assert (await fails(caller.call)).reason == "MEDIA_CORRUPT"


def duration_ms(wav):
    with wave.open(io.BytesIO(wav)) as file:
        return file.getnframes() // 16
