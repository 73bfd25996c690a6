"""Office files, messages, archives and videos made up for tests by the libraries themselves."""

import io
import zipfile
from email.message import EmailMessage

import av
import docx
import numpy as np
import openpyxl
import pptx
from PIL import Image, ImageDraw, ImageFont
from pptx.util import Inches

from triptych.core.errors import TriptychError
from triptych.v1.common_pb2 import InputSource
from triptych.workers.converters import converter
from triptych.workers.converters.limits import ConversionLimits


class Opened:
    """A converted document, with the bytes of what was in it."""

    def __init__(self, converted, bytes_by_name):
        self.contents = converted.contents
        self.members = converted.members
        self.frames = converted.frames
        self._bytes = bytes_by_name

    def bytes_of(self, source):
        return self._bytes[source.blob]

    def part_of(self, words):
        """Name of the part in which words stand."""
        at = self.contents.text.index(words)
        return next(name for start, name in reversed(self.contents.parts) if start <= at)

    @property
    def lines(self):
        return [self.contents.text[start:end] for start, end in self.contents.lines]

    @property
    def paths(self):
        return [member.path for member in self.members]


async def opened(data, media_type, *, spent=None, depth=1, **limits):
    """Opens bytes as workers do: in a guarded process."""
    kept = {}

    async def save(path):
        path.write_bytes(data)

    async def keep(part):
        name = f"part{len(kept)}"
        kept[name] = part
        return InputSource(blob=name)

    converted = await converter.convert(
        save, keep, media_type, limits=ConversionLimits(**limits), spent=spent or converter.Spent(), depth=depth
    )
    return Opened(converted, kept)


async def error_of(data, media_type, **limits):
    """The error with which bytes are refused; None if they are not."""
    try:
        await opened(data, media_type, **limits)
    except TriptychError as error:
        return error
    return None


def _saved(document):
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def picture(text, size=(900, 260)):
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((40, 90), text, fill="black", font=ImageFont.load_default(44))
    return image


def png(text, size=(900, 260)):
    file = io.BytesIO()
    picture(text, size).save(file, "PNG")
    return file.getvalue()


def word(*paragraphs, table=(), images=()):
    document = docx.Document()
    for text in paragraphs:
        document.add_paragraph(text)
    if table:
        grid = document.add_table(len(table), len(table[0]))
        for row, texts in zip(grid.rows, table, strict=True):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
    for image in images:
        document.add_picture(io.BytesIO(image))
    document.sections[0].footer.paragraphs[0].text = "Confidential"
    return _saved(document)


def slides(*texts, image=None):
    show = pptx.Presentation()
    for title, body, notes in texts:
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
        if image:
            slide.shapes.add_picture(io.BytesIO(image), Inches(1), Inches(4))
    return _saved(show)


def sheet(rows, *, title="Costs", formats=()):
    book = openpyxl.Workbook()
    page = book.active
    page.title = title
    for row in rows:
        page.append(row)
    for place, number_format in formats:
        page[place].number_format = number_format
    return _saved(book)


def message(text="", *, html="", subject="Offer", attachments=()):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Ada Byron <ada@example.com>", "Bo <bo@example.com>", subject
    mail["Date"] = "Mon, 03 Mar 2025 10:00:00 +0000"
    mail.set_content(text)
    if html:
        mail.add_alternative(html, subtype="html")
    for name, data, media_type in attachments:
        if isinstance(data, EmailMessage):
            mail.add_attachment(data)
        else:
            maintype, subtype = media_type.split("/")
            mail.add_attachment(data, maintype=maintype, subtype=subtype, filename=name)
    return mail


def archive(members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as target:
        for name, data in members:
            target.writestr(name, data)
    return file.getvalue()


def video(texts, *, seconds_each=3, sound=None, size=(640, 360), fps=10):
    """An MP4 that shows a text, or a picture, after the other; `sound` is a file of which the audio comes along."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as target:
        film = target.add_stream(
            "mpeg4", rate=fps, width=size[0], height=size[1], pix_fmt="yuv420p", bit_rate=2_000_000
        )
        voice = target.add_stream("aac", rate=16000, layout="mono") if sound else None
        for text in texts:
            pixels = np.asarray(picture(text, size) if isinstance(text, str) else text)
            for _ in range(seconds_each * fps):
                target.mux(film.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        target.mux(film.encode())
        if sound:
            with av.open(str(sound)) as source:
                resampler = av.AudioResampler(format="fltp", layout="mono", rate=16000)
                for frame in source.decode(audio=0):
                    for piece in resampler.resample(frame):
                        piece.pts = None
                        target.mux(voice.encode(piece))
            target.mux(voice.encode())
    return file.getvalue()
