"""Small documents and what is read in them, made at test time."""

import io

import pikepdf
from PIL import Image

from triptych.v1.ocr_pb2 import OcrPage, OcrResult, TextLine, TextOrigin


def line(text, left, top, width, height=0.03, **fields):
    """A level line; all numbers are shares of the page."""
    right, bottom = left + width, top + height
    return TextLine(text=text, polygon=[left, top, right, top, right, bottom, left, bottom], **fields)


def page(*lines, number=1, width_px=1000, height_px=1400, origin=TextOrigin.TEXT_ORIGIN_RECOGNIZED):
    text = "\n".join(each.text for each in lines)
    return OcrPage(
        page_number=number, width_px=width_px, height_px=height_px, lines=lines, text=text, text_origin=origin
    )


def result(*pages):
    return OcrResult(source_page_count=len(pages), pages=pages, model={"model": "m", "revision": "r", "engine": "e/1"})


def picture(kind="JPEG", size=(500, 700), mode="RGB", **options):
    """A picture with a dark part at its top left."""
    image = Image.new("L", size, 255 if mode == "1" else 240)
    image.paste(0 if mode == "1" else 20, (0, 0, size[0] // 2, size[1] // 4))
    file = io.BytesIO()
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


def pdf(*contents, boxes=(0, 0, 500, 700), **save):
    """A PDF with a page for each content stream; `F1` is Helvetica."""
    made = pikepdf.new()
    for content in contents or (b"",):
        page = made.add_blank_page(page_size=(500, 700))
        page.obj.MediaBox = pikepdf.Array(list(boxes))
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        page.obj.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
        page.obj.Contents = made.make_stream(content)
    file = io.BytesIO()
    made.save(file, **save)
    return file.getvalue()
