"""FormatPages: of jobs and of what callers send, as every format, and what is refused."""

import hashlib
import io
from pathlib import Path

import grpc
import pikepdf
import pypdfium2
import pytest
from google.rpc.status_pb2 import Status
from read_papers import line, page, pdf, picture, result

from triptych.core.blob_choice import open_blobs
from triptych.core.errors import MediaCorrupt, from_status
from triptych.v1.blob_service_pb2 import PurgeRequest
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobResult, JobSpec
from triptych.v1.job_service_pb2 import GetJobRequest, SubmitJobRequest
from triptych.v1.ocr_pb2 import LayoutBlock, OcrPage, OcrResult, OcrSpec, OcrTable, TextLine
from triptych.v1.ocr_service_pb2 import FormatPagesRequest, PagesFormat

TEXT = PagesFormat.PAGES_FORMAT_TEXT
HOCR = PagesFormat.PAGES_FORMAT_HOCR
PDF = PagesFormat.PAGES_FORMAT_SEARCHABLE_PDF
READ = result(page(line("Hello wide world", 0.1, 0.1, 0.5)))
SCAN = picture()


def words_in(content):
    with pypdfium2.PdfDocument(content) as document:
        return [document[number].get_textpage().get_text_range().split() for number in range(len(document))]


@pytest.fixture
def write(client):
    async def write(format_=TEXT, **request_fields):
        return await client.ocr.FormatPages(FormatPagesRequest(format=format_, **request_fields))

    return write


@pytest.fixture
def read(client, worker):
    """Has a document read by a worker, with the result that the test wants; gives the job's name."""

    async def read(document=SCAN, found=READ, **input_fields):
        source = InputSource(content=document, **input_fields)
        spec = JobSpec(ocr=OcrSpec(input=source))
        name = (await client.jobs.SubmitJob(SubmitJobRequest(spec=spec))).job.name
        await worker.succeed(await worker.claim("ocr"), JobResult(ocr=found) if isinstance(found, OcrResult) else found)
        return name

    return read


@pytest.mark.parametrize(
    ("format_", "media_type", "start"),
    [
        (TEXT, "text/plain; charset=utf-8", "Hello wide world\n"),
        (PagesFormat.PAGES_FORMAT_MARKDOWN, "text/markdown; charset=utf-8", "Hello wide world\n"),
        (PagesFormat.PAGES_FORMAT_HTML, "text/html; charset=utf-8", "<!DOCTYPE html>"),
        (HOCR, "text/vnd.hocr+html; charset=utf-8", "<?xml"),
        (PagesFormat.PAGES_FORMAT_ALTO, "application/alto+xml", "<?xml"),
        (PagesFormat.PAGES_FORMAT_JSON, "application/json", "{"),
    ],
)
async def test_what_a_caller_sends_is_written(write, format_, media_type, start):
    answer = await write(format_, result=READ)
    assert answer.media_type == media_type
    assert answer.content.decode().startswith(start)


async def test_the_pages_of_a_job_are_written(write, read):
    assert (await write(job=await read())).content == b"Hello wide world\n"


async def test_a_searchable_pdf_is_made_of_what_the_job_read(write, read):
    answer = await write(PDF, job=await read())
    assert (answer.media_type, words_in(answer.content)) == ("application/pdf", [["Hello", "wide", "world"]])


async def test_a_searchable_pdf_is_made_of_a_result_and_its_document(write):
    answer = await write(PDF, result=READ, document=InputSource(content=pdf(b"0 0 100 100 re f")))
    assert words_in(answer.content) == [["Hello", "wide", "world"]]


async def test_a_large_result_is_written_by_a_process_of_its_own(write, read, settings):
    many = result(*(page(*[line("word " * 40, 0.1, 0.1, 0.8)] * 400, number=number) for number in range(1, 8)))
    blob = open_blobs(settings).put("default", JobResult(ocr=many).SerializeToString())
    name = await read(found=blob.name)
    assert (await write(job=name)).content.count(b"word") == 40 * 400 * 7


async def test_what_fits_no_message_is_kept_and_goes_with_its_document(serve, worker, settings, store):
    _, client = await serve(max_inline_result_bytes=1024)
    spec = JobSpec(ocr=OcrSpec(input=InputSource(content=SCAN)))
    name = (await client.jobs.SubmitJob(SubmitJobRequest(spec=spec))).job.name
    await worker.succeed(await worker.claim("ocr"), JobResult(ocr=READ))
    answer = await client.ocr.FormatPages(FormatPagesRequest(job=name, format=PDF))
    again = await client.ocr.FormatPages(FormatPagesRequest(job=name, format=PDF))
    assert answer.content_blob == again.content_blob, "the same file is kept once"
    blobs = open_blobs(settings)
    content = blobs.read("default", answer.content_blob)
    assert words_in(content) == [["Hello", "wide", "world"]]
    assert not blobs.uploads("default")
    document = f"blobs/sha256-{hashlib.sha256(SCAN).hexdigest()}"
    purged = await client.blobs.Purge(PurgeRequest(document=document))
    assert (purged.remaining_count, purged.blob_count) == (0, 2)
    assert not blobs.names("default")


async def test_a_file_of_a_result_goes_with_the_document_that_was_sent(serve, settings):
    _, client = await serve(max_inline_result_bytes=1024)
    request = FormatPagesRequest(result=READ, format=PDF, document=InputSource(content=SCAN))
    answer = await client.ocr.FormatPages(request)
    blobs = open_blobs(settings)
    assert blobs.names("default") == {answer.content_blob}
    document = f"blobs/sha256-{hashlib.sha256(SCAN).hexdigest()}"
    assert (await client.blobs.Purge(PurgeRequest(document=document))).remaining_count == 0
    assert not blobs.names("default")


async def test_a_document_that_is_no_longer_kept_has_to_be_sent(client, write, read, settings, fails):
    name = await read()
    job = await client.jobs.GetJob(GetJobRequest(name=name))
    open_blobs(settings).delete("default", job.job.spec.ocr.input.blob)
    failed = await fails(write(PDF, job=name))
    assert (failed.reason, failed.error.metadata["field"]) == ("BLOB_NOT_FOUND", "document")
    answer = await write(PDF, job=name, document=InputSource(content=SCAN))
    assert words_in(answer.content) == [["Hello", "wide", "world"]]


async def test_a_protected_pdf_is_opened_by_its_password_and_stays_protected(write, fails):
    secret = pdf(b"", encryption=pikepdf.Encryption(user="open sesame", owner="owner"))
    failed = await fails(write(PDF, result=READ, document=InputSource(content=secret)))
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "MEDIA_ENCRYPTED")
    failed = await fails(write(PDF, result=READ, document=InputSource(content=secret, password="open")))
    assert failed.reason == "MEDIA_ENCRYPTED"
    answer = await write(PDF, result=READ, document=InputSource(content=secret, password="open sesame"))
    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(io.BytesIO(answer.content))
    with pypdfium2.PdfDocument(answer.content, password="open sesame") as document:
        assert document[0].get_textpage().get_text_range().split() == ["Hello", "wide", "world"]


async def test_the_job_s_own_password_opens_its_document(write, read):
    secret = pdf(b"", encryption=pikepdf.Encryption(user="open sesame", owner="owner"))
    answer = await write(PDF, job=await read(secret, password="open sesame"))
    with pypdfium2.PdfDocument(answer.content, password="open sesame") as document:
        assert document[0].get_textpage().get_text_range().split() == ["Hello", "wide", "world"]


async def test_a_job_that_read_nothing_is_a_reason(client, write, worker, samples, fails):
    spec = JobSpec(ocr=OcrSpec(input=InputSource(content=samples.png)))
    name = (await client.jobs.SubmitJob(SubmitJobRequest(spec=spec))).job.name
    record = await worker.claim("ocr")
    assert (await fails(write(job=name))).reason == "JOB_NOT_TERMINAL"
    await worker.fail(record, MediaCorrupt("no page in it"))
    failed = await fails(write(job=name))
    assert (failed.reason, failed.error.metadata["job"]) == ("MEDIA_CORRUPT", name)


PLACELESS = OcrResult(pages=[OcrPage(page_number=1, width_px=9, height_px=9, lines=[TextLine(text="where?")])])
SIZELESS = OcrResult(pages=[OcrPage(page_number=1, lines=[line("how large?", 0.1, 0.1, 0.1)])])
TWICE = result(page(), page())
POINTING = result(page(line("a", 0, 0, 1)))
POINTING.pages[0].blocks.append(LayoutBlock(polygon=[0] * 8, line_indices=[1]))
TABLELESS = result(page())
TABLELESS.pages[0].blocks.append(LayoutBlock(polygon=[0] * 8, table_index=0))
ENDLESS = result(page())
ENDLESS.pages[0].tables.append(OcrTable(row_count=2**31 - 1, column_count=2**31 - 1))
UNKNOWN = OcrResult(pages=[OcrPage(page_number=1, error={"code": 3, "details": [{"type_url": "a/b", "value": b"c"}]})])


@pytest.mark.parametrize(
    ("field", "request_fields"),
    [
        ("source", {}),
        ("format", {"result": READ, "format": 0}),
        ("format", {"result": READ, "format": 99}),
        ("job", {"job": "jobs/7"}),
        ("document", {"result": READ, "format": PDF}),
        ("document", {"result": READ, "document": InputSource(content=SCAN)}),
        ("document", {"result": READ, "format": PDF, "document": InputSource(password="x")}),
        ("document", {"result": result(page(number=3)), "format": PDF, "document": InputSource(content=SCAN)}),
        ("document.blob", {"result": READ, "format": PDF, "document": InputSource(blob="blobs/7")}),
        ("result.pages", {"result": OcrResult()}),
        ("result.pages[0].lines[0].polygon", {"result": PLACELESS}),
        ("result.pages[0].width_px", {"result": SIZELESS}),
        ("result.pages[1].page_number", {"result": TWICE}),
        ("result.pages[0].blocks[0].line_indices", {"result": POINTING}),
        ("result.pages[0].blocks[0].table_index", {"result": TABLELESS}),
        ("result.pages[0].tables[0]", {"result": ENDLESS}),
        ("result.pages[0].error.details", {"result": UNKNOWN}),
    ],
)
async def test_what_is_wrong_is_named(write, fails, field, request_fields):
    failed = await fails(write(request_fields.pop("format", TEXT), **request_fields))
    assert (failed.code, failed.reason, failed.error.metadata["field"]) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)


async def test_documents_that_cannot_be_read_are_a_reason(write, samples, fails):
    for content, reason in (
        (samples.wav, "MEDIA_TYPE_UNSUPPORTED"),
        (b"%PDF-1.7\nnothing", "MEDIA_CORRUPT"),
        (samples.huge_png, "INPUT_TOO_LARGE"),
        (picture("TIFF")[:900], "MEDIA_CORRUPT"),
    ):
        assert (await fails(write(PDF, result=READ, document=InputSource(content=content)))).reason == reason
    uri = InputSource(uri="https://example.com/a.pdf")
    assert (await fails(write(PDF, result=READ, document=uri))).reason == "URI_NOT_ALLOWED"


HOSTILE = Path(__file__).parents[3] / "shared" / "data" / "public" / "hostile"
# A PDF without pages lacks the one that was read.
REASONS = {"FIELD_INVALID", "MEDIA_CORRUPT", "MEDIA_ENCRYPTED", "MEDIA_TYPE_UNSUPPORTED", "INPUT_TOO_LARGE"}


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="the public files are not here")
async def test_hostile_documents_end_in_a_pdf_or_a_reason(write, settings):
    ends = {}
    for path in sorted(HOSTILE.iterdir()):
        if path.suffix in {".pdf", ".png", ".jpg", ".tif", ".gif", ".webp", ".svg", ".bin"}:
            document = InputSource(blob=open_blobs(settings).put("default", path.read_bytes() or b"-").name)
            try:
                answer = await write(PDF, result=READ, document=document)
            except grpc.aio.AioRpcError as error:
                details = dict(error.trailing_metadata())["grpc-status-details-bin"]
                ends[path.name] = from_status(Status.FromString(details)).reason
            else:
                content = answer.content or open_blobs(settings).read("default", answer.content_blob)
                ends[path.name] = "a PDF" if content.startswith(b"%PDF-") else "nonsense"
    assert ends
    assert set(ends.values()) <= {"a PDF", *REASONS}, ends


async def test_what_another_tenant_has_is_not_found(serve, worker, fails):
    _, client = await serve(api_keys={"key-a": "a", "key-b": "b"})
    mine, theirs = ((("authorization", f"Bearer {key}"),) for key in ("key-a", "key-b"))
    spec = JobSpec(ocr=OcrSpec(input=InputSource(content=SCAN)))
    name = (await client.jobs.SubmitJob(SubmitJobRequest(spec=spec), metadata=mine)).job.name
    await worker.succeed(await worker.claim("ocr"), JobResult(ocr=READ))
    request = FormatPagesRequest(job=name, format=PDF)
    assert words_in((await client.ocr.FormatPages(request, metadata=mine)).content)
    assert (await fails(client.ocr.FormatPages(request, metadata=theirs))).reason == "JOB_NOT_FOUND"
    blob = InputSource(blob=f"blobs/sha256-{hashlib.sha256(SCAN).hexdigest()}")
    request = FormatPagesRequest(result=READ, format=PDF, document=blob)
    assert words_in((await client.ocr.FormatPages(request, metadata=mine)).content)
    assert (await fails(client.ocr.FormatPages(request, metadata=theirs))).reason == "BLOB_NOT_FOUND"
