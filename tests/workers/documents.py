"""Documents made up for tests, and the world that an attempt at them sees."""

import functools
import io
import struct
import zlib

from PIL import Image, ImageDraw, ImageFont

from triptych.v1.common_pb2 import InputSource, ModelRef
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.ocr_pb2 import OcrSpec
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import BatchPolicy
from triptych.workers.station import Station
from triptych.workers.testing import MemoryBackstage

MISSING_PAGE = None


def picture(*lines, size=(900, 260), background="white", colour="black"):
    """A page with the lines in large print."""
    image = Image.new("RGB", size, background)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((40, 30 + 70 * row), line, fill=colour, font=ImageFont.load_default(44))
    return image


def encoded(image, kind="PNG", **options):
    """The file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_claiming(width, height):
    """A PNG whose header tells this size, with hardly any pixels."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100))]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def scan(*pages):
    """A PDF of pictures only."""
    return encoded(pages[0], "PDF", resolution=150, save_all=True, append_images=pages[1:])


def text_pdf(*pages, media_box="0 0 400 200"):
    """A PDF with a text layer. A page is a list of lines, or MISSING_PAGE: a reference that leads nowhere."""
    objects = {1: b"<< /Type /Catalog /Pages 2 0 R >>", 3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"}
    kids = []
    for index, lines in enumerate(pages):
        number = 10 + 2 * index
        kids.append(f"{number} 0 R")
        if lines is MISSING_PAGE:
            continue
        shown = " ".join(f"1 0 0 1 30 {150 - 40 * row} Tm ({line}) Tj" for row, line in enumerate(lines))
        content = f"BT /F1 24 Tf {shown} ET".encode()
        objects[number] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{media_box}] /Contents {number + 1} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        ).encode()
        objects[number + 1] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)
    objects[2] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    return _pdf_file(objects)


def drawn_pdf(content, *, page="", objects=None):
    """A PDF of one page of 400 x 200 points from its content stream. /F1 is Helvetica, /I a black picture, /X a form.

    `page` has more entries of the page, `objects` more objects by number, from 20 up.
    """
    picture = (
        b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 /Length 1 >>"
    )
    return _pdf_file(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Kids [10 0 R] /Count 1 >>",
            3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            4: picture + b"\nstream\n\0\nendstream",
            10: (
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] /Contents 11 0 R /Resources <<"
                f" /Font << /F1 3 0 R >> /XObject << /I 4 0 R /X 20 0 R >> >> {page} >>"
            ).encode(),
            11: b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
            **(objects or {}),
        }
    )


def _pdf_file(objects):
    body = b"%PDF-1.7\n"
    offsets = {}
    for number, value in sorted(objects.items()):
        offsets[number] = len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, value)
    table = b"".join(b"%d 1\n%010d 00000 n \n" % (number, at) for number, at in sorted(offsets.items()))
    size = max(objects) + 1
    return body + b"xref\n" + table + b"trailer << /Root 1 0 R /Size %d >>\nstartxref\n%d\n%%%%EOF" % (size, len(body))


@functools.cache
def ocr_engine(models_dir, runtime="onnxruntime"):
    """The real engine, loaded once."""
    from triptych.workers.engines.ocr_runtime import OcrRuntime
    from triptych.workers.engines.paddle_ocr import PaddleOcrEngine

    runs = OcrRuntime(pages=runtime, lines=runtime, device="cpu", threads=2)
    engine = PaddleOcrEngine(models_dir / "pp-ocrv6-small", ModelRef(model="pp-ocrv6-small"), runs)
    engine.load()
    engine.warm_up()
    return engine


class OneStation:
    """Stations of a worker that serves one model; remembers how many items every batch had."""

    def __init__(self, engine, **policy):
        self.batch_sizes = []
        self.station = Station(
            engine, BatchPolicy(**{"max_cost": 40e6, **policy}), lambda report: self.batch_sizes.append(report.size)
        )

    def get(self, name="", /, *, languages=()):
        return self.station

    def __enter__(self):
        self.station.start()
        return self

    def __exit__(self, *_):
        self.station.stop()


class Backstage(MemoryBackstage):
    """Stores of one job, in memory."""

    def pages_told(self):
        return [event.ocr_page.page_number for event in self.events if event.HasField("ocr_page")]


def attempt_at(spec, backstage, number):
    """An attempt at a job of this specification."""
    return Attempt(backstage, job_id="job", tenant="default", number=number, lane=1, spec=spec, execution_timeout_s=240)


def ocr_attempt(data, *, number=1, parts=None, **spec):
    """An attempt at reading a document, its specification, and what stands behind it."""
    backstage = Backstage(data, parts)
    ocr = OcrSpec(input=InputSource(blob="blobs/sha256-0"), **spec)
    attempt = attempt_at(JobSpec(ocr=ocr), backstage, number)
    return attempt, ocr, backstage
