"""Whatever is sent, the caller hears at once what is wrong with it, and nobody else notices."""

import uuid

import grpc
import pytest
from e2e.papers import png, scanned_pdf
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from triptych.core import errors
from triptych.v1.common_pb2 import InputSource, PageRange
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.ocr_pb2 import OcrConfig, OcrSpec
from triptych.v1.ocr_service_pb2 import RecognizeRequest
from triptych.v1.ocr_service_pb2_grpc import OcrServiceStub
from triptych.v1.transcription_pb2 import TranscriptionConfig

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(300)]

PAGE = png("a good page")
BOMB = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes([0, 0, 255, 255, 0, 0, 255, 255]) + bytes(100)


@pytest.fixture(autouse=True)
def everybody_lives_on(stack):
    before = {process["name"]: process["pid"] for process in stack.record["processes"]}
    yield
    assert {process["name"]: process["pid"] for process in stack.record["processes"]} == before


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (InputSource(content=b""), errors.MediaCorrupt),
        (b"plain text, no document", errors.MediaTypeUnsupported),
        (b"PK\x03\x04 an office file", errors.MediaTypeUnsupported),
        (PAGE[: len(PAGE) // 2], errors.MediaCorrupt),
        (b"%PDF-1.7\nand then nothing", errors.MediaCorrupt),
        (BOMB, errors.InputTooLarge),
        (InputSource(content=PAGE, media_type="application/pdf"), errors.MediaTypeMismatch),
        (InputSource(uri="http://127.0.0.1/secret"), errors.UriNotAllowed),
        (InputSource(blob="blobs/sha256-" + "0" * 64), errors.BlobNotFound),
        (InputSource(content=b"OggS" + bytes(2000)), errors.MediaTypeUnsupported),
    ],
    ids=[
        "empty", "text", "office", "truncated", "empty_pdf", "bomb", "mislabelled", "uri", "no_blob", "audio",
    ],
)  # fmt: skip
def test_bad_documents_are_refused_with_a_reason(client, data, error):
    with pytest.raises(error):
        client.recognize(data, timeout_s=60)


def test_an_encrypted_pdf_says_so(client, data_dir):
    with pytest.raises(errors.MediaEncrypted):
        client.recognize(data_dir / "pages" / "aes256_password.pdf", timeout_s=60)


def test_sound_that_is_none_is_refused(client):
    for data, error in ((b"ID3\x04garbage" * 50, errors.MediaCorrupt), (PAGE, errors.MediaTypeUnsupported)):
        with pytest.raises(error):
            client.transcribe(data, timeout_s=60)


def test_a_page_that_is_not_there_is_out_of_range(client):
    with pytest.raises(errors.RangeOutsideSource):
        client.recognize(scanned_pdf([("one",)]), pages=[PageRange(first_page=1, last_page=3)], timeout_s=60)


def test_a_model_that_is_not_there_is_named_with_its_neighbours(client):
    with pytest.raises(errors.ModelNotFound, match="whisper-base"):
        client.transcribe(PAGE, TranscriptionConfig(model="whisper-bass"), timeout_s=60)
    with pytest.raises(errors.FieldInvalid):
        client.recognize(PAGE, OcrConfig(model="whisper-base"), timeout_s=60)


def test_a_blocking_call_without_a_deadline_is_refused(stack):
    with grpc.insecure_channel(stack.record["target"]) as channel, pytest.raises(grpc.RpcError) as caught:
        OcrServiceStub(channel).Recognize(RecognizeRequest(spec=OcrSpec(input=InputSource(content=PAGE))))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "deadline" in caught.value.details()


def test_an_unknown_job_is_not_found(client):
    with pytest.raises(errors.JobNotFound):
        client.get_job(f"jobs/{uuid.uuid4()}")


def test_a_request_id_belongs_to_one_request(client):
    request_id = str(uuid.uuid4())
    spec, other = (JobSpec(ocr=OcrSpec(input=InputSource(content=data))) for data in (PAGE, png("another page")))
    first = client.submit(spec, request_id=request_id)
    assert client.submit(spec, request_id=request_id).name == first.name
    with pytest.raises(errors.RequestIdReused):
        client.submit(other, request_id=request_id)
    assert client.wait_job(first.name, timeout_s=120).result.ocr.pages[0].text == "a good page"


def test_reflection_lists_every_service(stack):
    with grpc.insecure_channel(stack.record["target"]) as channel:
        services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    names = ("Job", "Transcription", "Ocr", "Vision", "Reasoning", "Blob", "System")
    assert {f"triptych.v1.{name}Service" for name in names} <= services
    assert "grpc.health.v1.Health" in services
