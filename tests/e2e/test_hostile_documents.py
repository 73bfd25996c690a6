"""Whatever document it is sent, a real worker gives a result or a reason, in bounded memory and time, and lives on."""

import os
import signal
import time
import zlib
from pathlib import Path

import grpc
import pytest
from e2e.papers import png, scanned_pdf
from PIL import Image
from watched_worker import Memory
from workers.documents import encoded, png_claiming

from triptych.client import specs
from triptych.core.errors import MediaEncrypted, TriptychError, from_status
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import CachePolicy, JobOptions, JobState
from triptych.v1.ocr_pb2 import EMBEDDED_TEXT_POLICY_IGNORE, OcrConfig, OcrSpec
from triptych.v1.ocr_service_pb2 import StreamRecognizeRequest
from triptych.v1.ocr_service_pb2_grpc import OcrServiceStub

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(900)]

HOSTILE = Path(__file__).parents[3] / "shared" / "data" / "public" / "hostile"
DOCUMENTS = {
    ".png", ".jpg", ".tif", ".gif", ".webp", ".pdf", ".svg", ".gz", ".zip", ".bin",
}  # fmt: skip
# The contract's reasons for what is wrong with an input.
REASONS = {
    "MEDIA_CORRUPT", "MEDIA_TYPE_UNSUPPORTED", "MEDIA_ENCRYPTED", "INPUT_TOO_LARGE", "FIELD_INVALID",
    "RANGE_OUTSIDE_SOURCE",
}  # fmt: skip
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)
IGNORE = OcrConfig(embedded_text_policy=EMBEDDED_TEXT_POLICY_IGNORE)
# Of the worker and its children: the engine takes 2.3 GB at most, a decoder 1 GiB and a page of 300 MB that both have.
MAX_MEMORY_BYTES = 4_200_000_000


def children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def decoders(stack):
    """The processes that have a document open."""
    return [decoder for server in children(stack.process("worker-ocr")["pid"]) for decoder in children(server)]


@pytest.fixture(autouse=True)
def the_worker_lives_on(stack, client):
    before = stack.process("worker-ocr")
    with Memory(before["pid"]) as memory:
        yield
    after = stack.process("worker-ocr")
    assert (after["pid"], after["state"]) == (before["pid"], "ready")
    assert memory.peak_bytes < MAX_MEMORY_BYTES
    assert client.recognize(png("still here"), options=ANEW, timeout_s=120).pages[0].text == "still here"
    assert decoders(stack) == []


def end_of(client, document, config=IGNORE, timeout_s=300):
    """The reason that a document was refused with; empty if it was read, in part at least."""
    try:
        result = client.recognize(document, config, options=ANEW, timeout_s=timeout_s)
    except TriptychError as error:
        return error.reason
    assert result.pages
    assert all(not page.HasField("error") or from_status(page.error).reason in REASONS for page in result.pages)
    return ""


def pdf(*objects, trailer=b""):
    """A PDF of these objects, from 1, of which the first is the catalogue; without a table of where they are."""
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, value) for number, value in enumerate(objects, 1))
    return b"%PDF-1.7\n" + body + b"trailer << /Root 1 0 R " + trailer + b">>\n%%EOF\n"


def stream(data, facts=b""):
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), facts, data)


def pdf_of(content, resources=b"", media_box=b"0 0 400 200"):
    """A PDF of one page."""
    return pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Contents 4 0 R /Resources << %s >> >>" % (media_box, resources),
        content,
    )


def pdf_with_endless_second_page():
    """Three pages: words, a large picture drawn 200,000 times, and words."""
    fonts = b"/Resources << /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] /Contents %d 0 R "
    picture = b"/Type /XObject /Subtype /Image /Width 4000 /Height 4000 /ColorSpace /DeviceGray /BitsPerComponent 8"
    return pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 7 0 R 5 0 R] /Count 3 >>",
        page % 4 + fonts + b" >>",
        stream(b"BT /F 30 Tf 40 100 Td (FIRST PAGE) Tj ET"),
        page % 6 + fonts + b" >>",
        stream(b"BT /F 30 Tf 40 100 Td (THIRD PAGE) Tj ET"),
        page % 8 + b"/Resources << /XObject << /P 9 0 R >> >> >>",
        stream(packed(b"q 400 0 0 200 0 0 cm /P Do Q ", 200_000), b"/Filter /FlateDecode"),
        stream(packed(bytes(4000), 4000), picture + b" /Filter /FlateDecode"),
    )


def packed(part, count):
    """The part so many times, deflated."""
    deflater = zlib.compressobj(1)
    return b"".join(deflater.compress(part) for _ in range(count)) + deflater.flush()


def big_picture_in_a_pdf():
    """A page whose picture would take 2.7 GB."""
    picture = packed(bytes(30_000), 10_000)
    facts = b"/Type /XObject /Subtype /Image /Width 30000 /Height 30000 /ColorSpace /DeviceRGB /BitsPerComponent 8"
    return pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] /Contents 4 0 R"
        b" /Resources << /XObject << /P 5 0 R >> >> >>",
        stream(b"400 0 0 200 0 0 cm /P Do"),
        stream(picture, facts + b" /Filter /FlateDecode"),
    )


# What it is -> how it must end; None: either way.
SIBLINGS = {
    "a claim of 4 billion pixels": (lambda: png_claiming(65_535, 65_535), "INPUT_TOO_LARGE"),
    "16,000 x 16,000 pixels in a TIFF": (
        lambda: encoded(Image.new("1", (16_000, 16_000), 1), "TIFF", compression="group4"), "INPUT_TOO_LARGE",
    ),
    "9,900 x 9,900 pixels with an alpha channel": (lambda: encoded(Image.new("LA", (9_900, 9_900)), "PNG"), ""),
    "a TIFF of 2,001 frames": (
        lambda: encoded(Image.new("1", (8, 8)), "TIFF", save_all=True, append_images=[Image.new("1", (8, 8))] * 2000),
        "INPUT_TOO_LARGE",
    ),
    "half a PNG": (lambda: png("whole")[:400], "MEDIA_CORRUPT"),
    "a PNG that says it is a PDF": (
        lambda: InputSource(content=png("x"), media_type="application/pdf"), "MEDIA_TYPE_MISMATCH",
    ),
    "a film": (lambda: b"\0\0\0\x20ftypisom" + bytes(100), "MEDIA_TYPE_UNSUPPORTED"),
    "a HEIC of noise": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + os.urandom(5000), "MEDIA_CORRUPT"),
    "an AVIF of noise": (lambda: b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + os.urandom(5000), "MEDIA_CORRUPT"),
    "a PDF cut short": (lambda: scanned_pdf([("one",), ("two",)])[:3000], None),
    "a PDF without pages": (
        lambda: pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"), "MEDIA_CORRUPT",
    ),
    "a page of kilometres": (lambda: pdf_of(stream(b""), media_box=b"0 0 9999999 9999999"), "INPUT_TOO_LARGE"),
    "a page of no size": (lambda: pdf_of(stream(b""), media_box=b"0 0 0 0"), ""),
    "a page tree that contains itself": (
        lambda: pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 9 >>"), None,
    ),
    "a script that opens a file": (
        lambda: pdf(
            b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /Launch /F (/bin/sh) >> >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 90 90]"
            b" /AA << /O << /S /JavaScript /JS (while\\(1\\);) >> >> >>",
        ),
        "",
    ),
    "a picture of 30,000 x 30,000 pixels in a PDF": (big_picture_in_a_pdf, None),
    "content of 260 MB in a PDF": (
        lambda: pdf_of(stream(packed(b"0 0 9 9 re f " * 1000, 20_000), b"/Filter /FlateDecode")), "INPUT_TOO_LARGE",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_hostile_document_ends_in_a_result_or_its_reason(client, name):
    make, wanted = SIBLINGS[name]
    found = end_of(client, make())
    assert found in REASONS | {"", "MEDIA_TYPE_MISMATCH"}
    assert wanted is None or found == wanted


def test_all_hostile_images_and_pdfs_end_in_a_result_or_a_reason(client):
    if not HOSTILE.is_dir():
        pytest.skip("there is no ../shared")
    paths = sorted(path for path in HOSTILE.iterdir() if path.suffix in DOCUMENTS)
    before = sorted(HOSTILE.iterdir())
    ends = {path.name: end_of(client, path if path.stat().st_size else InputSource(content=b"")) for path in paths}
    assert len(ends) > 60
    assert {end for end in ends.values() if end} <= REASONS, ends
    # These hold a page.
    for name in ("cmyk.jpg", "gray16.png", "multipage.tif", "animated.webp", "pdf_no_xref.pdf", "exif_orient6.jpg"):
        assert ends[name] == "", ends
    for name in ("zero_bytes.png", "text_named.jpg", "svg_xxe.svg", "pdf_zero_pages.pdf", "bomb_tiff_claim.tif"):
        assert ends[name], ends
    assert ends["pdf_aes256_password.pdf"] == "MEDIA_ENCRYPTED"
    assert ends["pdf_owner_password_only.pdf"] == ""
    assert sorted(HOSTILE.iterdir()) == before


def test_an_encrypted_pdf_wants_its_password(client, data_dir):
    encrypted = data_dir / "pages" / "aes256_password.pdf"
    for password in ("", "a guess"):
        with pytest.raises(MediaEncrypted):
            client.recognize(encrypted, password=password, timeout_s=60)
    assert client.recognize(encrypted, password="secret", timeout_s=60).pages[0].text == "HELLO 12345"


def test_a_crash_of_the_decoder_costs_its_page_while_the_first_is_told(stack, client):
    """The second page is never done with; its decoder gets the signal that a bug in a parser would have raised."""
    spec = OcrSpec(input=InputSource(content=pdf_with_endless_second_page()), config=IGNORE)
    told = []
    with grpc.insecure_channel(stack.record["target"]) as channel:
        call = OcrServiceStub(channel).StreamRecognize(StreamRecognizeRequest(spec=spec, options=ANEW), timeout=120)
        for response in call:
            if not response.event.HasField("ocr_page"):
                continue
            told.append(response.event.ocr_page)
            if len(told) == 1:
                (decoder,) = decoders(stack)
                os.kill(decoder, signal.SIGSEGV)
    assert [one.page_number for one in told] == [1, 2, 3]
    assert (told[0].text, told[2].text) == ("FIRST PAGE", "THIRD PAGE")
    assert from_status(told[1].error).reason == "MEDIA_CORRUPT"
    assert "SIGSEGV" in told[1].error.message


def test_a_page_that_is_never_done_ends_with_its_job(stack, client):
    job = client.submit(specs.ocr(InputSource(content=pdf_with_endless_second_page()), IGNORE), ANEW)
    deadline = time.monotonic() + 60
    while not decoders(stack):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    client.cancel_job(job.name)
    ended = client.wait_job(job.name, timeout_s=30)
    assert ended.state == JobState.JOB_STATE_CANCELLED
    while decoders(stack):
        assert time.monotonic() < deadline
        time.sleep(0.02)
