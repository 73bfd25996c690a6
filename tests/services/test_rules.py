"""What a request may say: each rule of the contract, and the field that its breach names."""

import json
import struct

import pytest
from google.protobuf.duration_pb2 import Duration

from triptych.core.errors import FeatureDisabled
from triptych.core.settings import Settings
from triptych.services.specs import check_spec
from triptych.v1 import job_service_pb2 as pb
from triptych.v1.common_pb2 import InputSource, PageRange, TimeRange
from triptych.v1.job_pb2 import JobOptions, JobSpec
from triptych.v1.ocr_pb2 import OcrConfig, OcrMode, OcrSpec
from triptych.v1.reasoning_pb2 import ReasoningConfig, ReasoningSpec, ReasoningStrategy, SourceDocument
from triptych.v1.transcription_pb2 import (
    ChannelMode,
    SpeakerConfig,
    TranscriptionConfig,
    TranscriptionGuard,
    TranscriptionSpec,
    WindowMode,
)
from triptych.v1.vision_pb2 import ChatMessage, ChatRole, ContentPart, GenerationConfig, ImagePart, VisionSpec

LAYOUT = OcrMode.OCR_MODE_LAYOUT
PNG = InputSource(content=b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 8, 8))
WAV = InputSource(content=b"RIFF\0\0\0\0WAVEfmt ")
ZIP, WEB_PAGE = InputSource(content=b"PK\x03\x04"), InputSource(content=b"<!doctype html><p>Hello")
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
USER, ASSISTANT = ChatRole.CHAT_ROLE_USER, ChatRole.CHAT_ROLE_ASSISTANT


def speech(source=WAV, **config):
    return JobSpec(transcription=TranscriptionSpec(input=source, config=TranscriptionConfig(**config)))


def ocr(source=PNG, pages=(), **config):
    return JobSpec(ocr=OcrSpec(input=source, pages=[PageRange(first_page=a, last_page=b) for a, b in pages],
                               config=OcrConfig(**config)))  # fmt: skip


def turn(role=USER, *parts):
    return ChatMessage(role=role, parts=parts or [ContentPart(text="hi")])


def image(**fields):
    return turn(USER, ContentPart(image=ImagePart(input=PNG, **fields)))


def vision(*messages, **config):
    return JobSpec(vision=VisionSpec(messages=messages or [turn()], config=GenerationConfig(**config)))


def document(document_id="", source=PNG, **fields):
    return SourceDocument(document_id=document_id, input=source, **fields)


def reasoning(*documents, question="what?", schema="", **config):
    return JobSpec(
        reasoning=ReasoningSpec(
            documents=documents or [document()], question=question, output_json_schema=schema,
            config=ReasoningConfig(**config),
        )
    )  # fmt: skip


def clips(*spans):
    return [TimeRange(start_ms=a, end_ms=b) for a, b in spans]


WRONG_FIELDS = {
    "spec": [JobSpec()],
    "spec.ocr.input": [ocr(InputSource())],
    "spec.ocr.input.blob": [ocr(InputSource(blob="blobs/sha256-XYZ")), ocr(InputSource(blob="../../etc/passwd"))],
    "spec.ocr.input.display_name": [ocr(InputSource(content=PNG.content, display_name="x" * 256))],
    "spec.ocr.pages[0].first_page": [ocr(pages=[(0, 1)])],
    "spec.ocr.pages[0].last_page": [ocr(pages=[(3, 2)])],
    "spec.ocr.pages[1]": [ocr(pages=[(1, 3), (3, 4)])],
    "spec.ocr.pages[0]": [ocr(pages=[(3, 4), (1, 0)])],
    "spec.ocr.config.render_dpi": [ocr(render_dpi=71), ocr(render_dpi=401)],
    "spec.ocr.config.min_confidence": [ocr(min_confidence=float("nan")), ocr(min_confidence=1.5)],
    "spec.ocr.config.language_codes": [ocr(language_codes=["en"] * 9)],
    "spec.ocr.config.language_codes[0]": [ocr(language_codes=["not a language"])],
    "spec.ocr.config.mode": [ocr(mode=99)],
    "spec.ocr.config.model": [ocr(model="whisper-base")],
    "spec.transcription.config.beam_size": [speech(beam_size=0), speech(beam_size=11)],
    "spec.transcription.config.temperature": [speech(temperature=1.1)],
    "spec.transcription.config.language_code": [speech(language_code="!")],
    "spec.transcription.config.initial_prompt": [speech(initial_prompt="x" * 901)],
    "spec.transcription.config.hotwords": [speech(hotwords=["x"] * 65)],
    "spec.transcription.config.hotwords[0]": [speech(hotwords=["x" * 65]), speech(hotwords=[" "])],
    "spec.transcription.config.clips[0].start_ms": [speech(clips=clips((-1, 5)))],
    "spec.transcription.config.clips[0].end_ms": [speech(clips=clips((5, 5))), speech(clips=clips((0, 0), (7, 8)))],
    "spec.transcription.config.clips[1].start_ms": [speech(clips=clips((0, 5), (4, 8)))],
    "spec.transcription.config.audio_stream": [speech(audio_stream=-1), speech(audio_stream=256)],
    "spec.transcription.config.channel_mode": [speech(channel_mode=9)],
    "spec.transcription.config.window_mode": [speech(window_mode=9)],
    "spec.transcription.config.guard.max_compression_ratio": [
        speech(guard=TranscriptionGuard(max_compression_ratio=float("nan"))),
        speech(guard=TranscriptionGuard(max_compression_ratio=-1)),
    ],
    "spec.transcription.config.guard.min_avg_logprob": [speech(guard=TranscriptionGuard(min_avg_logprob=0.1))],
    "spec.transcription.config.guard.max_no_speech_probability": [
        speech(guard=TranscriptionGuard(max_no_speech_probability=1.1)),
    ],
    "spec.transcription.config.speakers.min_speaker_count": [
        speech(speakers=SpeakerConfig(min_speaker_count=-1)), speech(speakers=SpeakerConfig(min_speaker_count=33)),
    ],
    "spec.transcription.config.speakers.max_speaker_count": [
        speech(speakers=SpeakerConfig(max_speaker_count=33)),
        speech(speakers=SpeakerConfig(min_speaker_count=3, max_speaker_count=2)),
    ],
    "spec.vision.messages": [JobSpec(vision=VisionSpec()), vision(*[turn()] * 33)],
    "spec.vision.messages[0].role": [vision(turn(ASSISTANT)), vision(turn(0))],
    "spec.vision.messages[0].parts": [vision(ChatMessage(role=USER))],
    "spec.vision.messages[0].parts[0]": [vision(turn(USER, ContentPart()))],
    "spec.vision.messages[0].parts[0].image.page_number": [vision(image(page_number=-1))],
    "spec.vision.messages[0].parts[0].image.crop_box": [
        vision(image(crop_box=[0, 0, 1])), vision(image(crop_box=[0.5, 0, 0.5, 1])),
        vision(image(crop_box=[0, 0, 2, 1])),
    ],
    "spec.vision.config.max_output_tokens": [vision(max_output_tokens=0)],
    "spec.vision.config.temperature": [vision(temperature=2.5)],
    "spec.vision.config.top_p": [vision(top_p=0), vision(top_p=1.1)],
    "spec.vision.config.stop_sequences": [
        vision(stop_sequences=["x"] * 9), vision(stop_sequences=["x"], output_choices=["axe"]),
    ],
    "spec.vision.config.stop_sequences[0]": [vision(stop_sequences=[""])],
    "spec.vision.config.output_json_schema": [vision(output_json_schema=json.dumps({"x": "y" * 33000}))],
    "spec.vision.config.output_regex": [
        vision(output_regex="("), vision(output_regex="(?=a)b"), vision(output_regex="x" * 4097),
        vision(output_regex="a", output_json_schema="{}"),
    ],
    "spec.vision.config.output_choices": [
        vision(output_choices=["x"] * 257), vision(output_choices=["x" * 20_000] * 2),
        vision(output_choices=["a"], output_regex="a"),
    ],
    "spec.vision.config.output_choices[1]": [vision(output_choices=["a", ""])],
    "spec.vision.config.enable_copying": [
        vision(enable_copying=True), vision(image(), enable_copying=True, output_choices=["a"]),
    ],
    "spec.reasoning.documents": [JobSpec(reasoning=ReasoningSpec(question="?")), reasoning(*[document()] * 33)],
    "spec.reasoning.documents[0].document_id": [reasoning(document("no spaces")), reasoning(document("x" * 65))],
    "spec.reasoning.documents[1].document_id": [
        reasoning(document("a"), document("a")), reasoning(document("d2"), document()),
    ],
    "spec.reasoning.documents[0].pages": [reasoning(document(source=WAV, pages=[PageRange(first_page=1)]))],
    "spec.reasoning.documents[0].clips": [reasoning(document(clips=clips((0, 5))))],
    "spec.reasoning.question": [reasoning(question=" "), reasoning(question="x" * 8001)],
    "spec.reasoning.config.generation.output_json_schema": [
        reasoning(generation=GenerationConfig(output_json_schema="{}")),
    ],
    "spec.reasoning.config.generation.output_regex": [reasoning(generation=GenerationConfig(output_regex="a"))],
    "spec.reasoning.config.generation.output_choices": [reasoning(generation=GenerationConfig(output_choices=["a"]))],
    "spec.reasoning.config.generation.enable_copying": [reasoning(generation=GenerationConfig(enable_copying=True))],
    "spec.reasoning.output_json_schema": [
        reasoning(schema='{"type": "object"}'), reasoning(schema='{"properties": {"a": {"items": {"items": {}}}}}'),
    ],
    "spec.reasoning.config.min_confidence": [reasoning(min_confidence=1.1), reasoning(min_confidence=-0.1)],
    "spec.reasoning.config.max_evidence_count": [reasoning(max_evidence_count=0), reasoning(max_evidence_count=51)],
    "spec.reasoning.config.ocr.render_dpi": [reasoning(ocr=OcrConfig(render_dpi=1))],
    "spec.reasoning.config.transcription.beam_size": [reasoning(transcription=TranscriptionConfig(beam_size=99))],
    "spec.reasoning.config.strategy": [reasoning(strategy=77)],
    "spec.reasoning.config.generation.model": [reasoning(generation=GenerationConfig(model="pp-ocrv6-small"))],
}  # fmt: skip


@pytest.fixture
def check(client):
    def check(spec, **fields):
        return client.jobs.SubmitJob(pb.SubmitJobRequest(spec=spec, validate_only=True, **fields))

    return check


@pytest.mark.parametrize("field", WRONG_FIELDS)
async def test_a_wrong_field_is_named(check, fails, field):
    for spec in WRONG_FIELDS[field]:
        failed = await fails(check(spec))
        assert (failed.code, failed.reason, failed.error.metadata["field"]) == (
            "INVALID_ARGUMENT", "FIELD_INVALID", field,
        )  # fmt: skip
        assert failed.status.details[1].type_url.endswith("google.rpc.BadRequest")


async def test_the_limits_themselves_are_allowed(check):
    for spec in (
        ocr(pages=[(4, 0), (1, 3)], render_dpi=72, min_confidence=1, language_codes=["en", "zh-Hans"] * 4),
        ocr(model="pp-ocrv6-small"),
        speech(beam_size=10, temperature=1, initial_prompt="é" * 900, hotwords=["x" * 64] * 64,
               clips=clips((0, 5), (5, 8), (9, 0)), audio_stream=255,
               channel_mode=ChannelMode.CHANNEL_MODE_SEPARATE, window_mode=WindowMode.WINDOW_MODE_SHORT,
               guard=TranscriptionGuard(max_compression_ratio=100, min_avg_logprob=-100, max_no_speech_probability=1),
               speakers=SpeakerConfig(min_speaker_count=32, max_speaker_count=32)),
        speech(speakers=SpeakerConfig(min_speaker_count=2)),
        vision(turn(ChatRole.CHAT_ROLE_SYSTEM), turn(), turn(ASSISTANT), image(crop_box=[0, 0, 1, 1], page_number=2)),
        vision(temperature=2, top_p=1, seed=-1, stop_sequences=["x"] * 8),
        reasoning(document("A.b_c-1"), document(), document(source=WAV, clips=clips((0, 0))), question="x" * 8000,
                  max_evidence_count=50, min_confidence=1),
        reasoning(question="", schema='{"properties": {"a": {}}}'),
    ):  # fmt: skip
        await check(spec)


def test_speakers_are_refused_at_once_where_nobody_tells_them_apart():
    spec = speech(speakers=SpeakerConfig())
    with pytest.raises(FeatureDisabled, match="TRIPTYCH_SPEAKER_MODEL is empty"):
        check_spec(spec, "spec", Settings(_env_file=None, speaker_model=""))
    check_spec(spec, "spec", Settings(_env_file=None))


@pytest.mark.parametrize("missing", ["layout_model", "table_model"])
@pytest.mark.parametrize("spec", [ocr(mode=LAYOUT), reasoning(ocr=OcrConfig(mode=LAYOUT))])
def test_layout_is_refused_at_once_where_a_model_for_it_is_missing(spec, missing):
    with pytest.raises(FeatureDisabled, match="TRIPTYCH_LAYOUT_MODEL or TRIPTYCH_TABLE_MODEL is empty"):
        check_spec(spec, "spec", Settings(_env_file=None, **{missing: ""}))
    check_spec(spec, "spec", Settings(_env_file=None))


async def test_what_is_not_offered_yet_is_refused_at_once(check, fails):
    images = ReasoningStrategy.REASONING_STRATEGY_TEXT_AND_IMAGES
    for spec in (
        ocr(enable_unwarping=True),
        reasoning(strategy=images),
        reasoning(ocr=OcrConfig(enable_unwarping=True)),
    ):
        failed = await fails(check(spec))
        assert (failed.code, failed.reason) == ("UNIMPLEMENTED", "FEATURE_DISABLED")
        assert "not offered yet" in failed.error.message


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (JobOptions(result_ttl=Duration(seconds=59)), "options.result_ttl"),
        (JobOptions(result_ttl=Duration(seconds=31 * 86400)), "options.result_ttl"),
        (JobOptions(queue_timeout=Duration()), "options.queue_timeout"),
        (JobOptions(execution_timeout=Duration(seconds=-1)), "options.execution_timeout"),
        (JobOptions(labels={f"k{i}": "" for i in range(17)}), "options.labels"),
        (JobOptions(labels={"Key": ""}), "options.labels"),
        (JobOptions(labels={"key": "x" * 64}), "options.labels['key']"),
        (JobOptions(priority=9), "options.priority"),
        (JobOptions(disconnect_policy=9), "options.disconnect_policy"),
    ],
)
async def test_a_wrong_option_is_named(check, fails, options, field):
    failed = await fails(check(ocr(), options=options))
    assert (failed.reason, failed.error.metadata["field"]) == ("FIELD_INVALID", field)


async def test_a_request_id_has_the_characters_of_a_uuid(check, fails):
    for request_id in ("with blanks", "x" * 65, "../.."):
        assert (await fails(check(ocr(), request_id=request_id))).error.metadata["field"] == "request_id"


@pytest.mark.parametrize(
    "schema",
    [
        "{", "[]", '"x"', '{"type": 5}', '{"type": "wat"}', '{"minimum": "low"}', '{"pattern": "("}',
        '{"$ref": "https://example.com/schema.json"}', '{"properties": {"a": {"$ref": "file:///etc/passwd"}}}',
        "[" * 5000, '{"a":' * 3000 + "1" + "}" * 3000, '{"$schema": 5}',
        '{"type": "array", "minItems": 1e308, "items": {"type": "string"}}',
        '{"$schema": "http://json-schema.org/draft-07/schema#", "$defs": [1]}', '{"additionalItems": {"required": 5}}',
    ],
)  # fmt: skip
async def test_what_is_no_schema_is_refused(check, fails, schema):
    failed = await fails(check(vision(output_json_schema=schema)))
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "SCHEMA_INVALID")


async def test_a_schema_that_cannot_be_enforced_is_refused_with_the_place(check, fails):
    schema = {"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}
    failed = await fails(check(vision(output_json_schema=json.dumps(schema))))
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "SCHEMA_INVALID")
    assert "/properties/tags: uniqueItems cannot be enforced" in failed.error.message


async def test_a_schema_in_which_nothing_can_be_looked_for_is_refused_with_the_place(check, fails):
    schema = {"properties": {"seller": {"type": "object", "additionalProperties": {"type": "string"}}}}
    failed = await fails(check(reasoning(schema=json.dumps(schema))))
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert "/properties/seller: is an object without properties" in failed.error.message


@pytest.mark.parametrize(
    "spec",
    [
        vision(output_json_schema='{"type": "object", "properties": {"a": {"enum": [1, "x"]}}}'),
        vision(output_json_schema=r'{"type": "string", "pattern": "\\p{Lu}"}'),
        vision(output_regex=r"[A-Z]{2}-\d+"),
        vision(output_choices=["yes", "no"]),
        vision(image(), enable_copying=True),
    ],
)
async def test_a_text_may_be_held_to_one_thing(check, spec):
    await check(spec)


@pytest.mark.parametrize(
    ("spec", "code", "reason"),
    [
        (ocr(InputSource(content=b"")), "INVALID_ARGUMENT", "MEDIA_CORRUPT"),
        (ocr(InputSource(content=b"nothing but words")), "INVALID_ARGUMENT", "MEDIA_TYPE_UNSUPPORTED"),
        (ocr(WAV), "INVALID_ARGUMENT", "MEDIA_TYPE_UNSUPPORTED"),
        (speech(PNG), "INVALID_ARGUMENT", "MEDIA_TYPE_UNSUPPORTED"),
        (vision(turn(USER, ContentPart(image=ImagePart(input=WAV)))), "INVALID_ARGUMENT", "MEDIA_TYPE_UNSUPPORTED"),
        (
            ocr(InputSource(content=PNG.content, media_type="image/jpeg")), "INVALID_ARGUMENT", "MEDIA_TYPE_MISMATCH",
        ),
        (ocr(InputSource(uri="file:///etc/passwd")), "PERMISSION_DENIED", "URI_NOT_ALLOWED"),
        (ocr(InputSource(content=b"x" * (2**20 + 1))), "INVALID_ARGUMENT", "INPUT_TOO_LARGE"),
        (ocr(pages=[(1, 2001)]), "INVALID_ARGUMENT", "INPUT_TOO_LARGE"),
        (ocr(InputSource(blob=f"blobs/sha256-{'0' * 64}")), "NOT_FOUND", "BLOB_NOT_FOUND"),
        (ocr(model="no-such-model"), "NOT_FOUND", "MODEL_NOT_FOUND"),
        (
            reasoning(generation=GenerationConfig(model="no-such-model")), "NOT_FOUND", "MODEL_NOT_FOUND",
        ),
        (reasoning(document(source=InputSource(content=b"words"))), "INVALID_ARGUMENT", "MEDIA_TYPE_UNSUPPORTED"),
        (reasoning(document(source=InputSource(content=OLD_OFFICE))), "INVALID_ARGUMENT", "MEDIA_TYPE_UNSUPPORTED"),
        (ocr(ZIP), "INVALID_ARGUMENT", "MEDIA_TYPE_UNSUPPORTED"),
        (speech(WEB_PAGE), "INVALID_ARGUMENT", "MEDIA_TYPE_UNSUPPORTED"),
        (reasoning(document(source=WEB_PAGE, pages=[PageRange(first_page=1)])), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (reasoning(document(source=ZIP, clips=[TimeRange(end_ms=5)])), "INVALID_ARGUMENT", "FIELD_INVALID"),
    ],
)  # fmt: skip
async def test_inputs_and_models_that_cannot_work_are_refused_at_once(check, fails, spec, code, reason):
    failed = await fails(check(spec))
    assert (failed.code, failed.reason) == (code, reason)


async def test_a_question_may_be_about_office_files_web_pages_messages_texts_and_archives(check):
    message = InputSource(content=b"From: a@example.com\nTo: b@example.com\n\nHello")
    text = InputSource(content=b"Hello", display_name="notes.txt")
    await check(reasoning(*(document(source=source) for source in (ZIP, WEB_PAGE, message, text))))


async def test_an_image_that_claims_too_many_pixels_is_refused(check, fails, samples):
    failed = await fails(check(ocr(InputSource(content=samples.huge_png))))
    assert (failed.reason, failed.error.metadata["value"]) == ("INPUT_TOO_LARGE", "3600000000")


async def test_a_stated_type_may_be_an_alias(check, samples):
    await check(speech(InputSource(content=samples.wav, media_type="audio/x-wav")))
