"""Bytes are recognized by their head, before anything decodes them."""

import struct

import pytest

from triptych.core.document_types import DOCX_TYPE, PPTX_TYPE, XLSX_TYPE
from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaTypeMismatch, MediaTypeUnsupported
from triptych.core.media import check_pixels, checked_type, image_size, sniff


def local(name):
    """A local header of a ZIP archive, of an empty member."""
    return struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name


HEADS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff\xe0": "image/jpeg",
    b"II*\x00": "image/tiff",
    b"RIFF\x00\x00\x00\x00WEBPVP8 ": "image/webp",
    b"RIFF\x00\x00\x00\x00WAVEfmt ": "audio/wav",
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"ID3\x04": "audio/mpeg",
    b"\xff\xfb\x90\x00": "audio/mpeg",
    b"\xff\xf1\x50\x80": "audio/aac",
    b"\x00\x00\x00\x20ftypM4A ": "audio/mp4",
    b"\x00\x00\x00\x20ftypisom": "video/mp4",
    b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic": "image/heic",
    b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1heicmeta": "image/heic",
    b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00avifmif1miafMA1B": "image/avif",
    b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avifmeta": "image/avif",
    b"\x00\x00\x00\x14ftypmif1\x00\x00\x00\x00mif1avif": "image/heic",
    b"\x00\x00\x00\x1cftypisom\x00\x00\x00\x00isommp41avif": "video/mp4",
    b"MM\x00+\x00\x08": "image/tiff",
    b"\x1aE\xdf\xa3....webm": "video/webm",
    b".snd\x00\x00\x00\x18": "audio/basic",
    b"wvpk": "audio/x-wavpack",
    b"\x0b\x77": "audio/ac3",
    b"FLV\x01\x05": "video/x-flv",
    b"0&\xb2u\x8ef\xcf\x11\xa6\xd9": "video/x-ms-asf",
    (b"G" + bytes(187)) * 3: "video/mp2t",
    b"GGGG": "",
    b"junk before\n%PDF-1.7": "application/pdf",
    b"<svg xmlns=": "",
    b"PK\x03\x04": "application/zip",
    b"PK\x05\x06": "application/zip",
    local(b"[Content_Types].xml") + local(b"word/document.xml"): DOCX_TYPE,
    local(b"_rels/.rels") + local(b"docProps/app.xml") + local(b"xl/workbook.xml"): XLSX_TYPE,
    local(b"[Content_Types].xml") + local(b"ppt/presentation.xml"): PPTX_TYPE,
    local(b"word/document.xml") + local(b"%PDF-1.7"): "application/zip",
    local(b"mimetype") + b"application/vnd.oasis.opendocument.text": "",
    b"<!DOCTYPE html><p>": "text/html",
    b"\xef\xbb\xbf \n<!-- saved --><HTML lang=en>": "text/html",
    "<html>".encode("utf-16"): "text/html",
    b'<?xml version="1.0"?><html xmlns="x">': "text/html",
    b'<?xml version="1.0"?><note>': "",
    b"Received: by x\r\n\tfor y\r\nFrom: a@b\r\n\r\nHello": "message/rfc822",
    b"From: a@b\nNote: no other field of a message\n\nHello": "",
    b"Dear Ada,\nFrom: a@b\nTo: b@c\n": "",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "",
    b"hello": "",
    b"": "",
}


@pytest.mark.parametrize(("head", "media_type"), HEADS.items())
def test_a_head_tells_the_type(head, media_type):
    assert sniff(head) == media_type


def test_the_right_type_by_any_of_its_names_is_accepted():
    assert checked_type(b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/x-wav; codecs=1") == "audio/wav"
    assert checked_type(b"\x00\x00\x00\x20ftypM4A ", "video/mp4") == "audio/mp4"
    assert checked_type(b"0&\xb2u\x8ef\xcf\x11", "audio/x-ms-wma") == "video/x-ms-asf"
    assert checked_type(b"\x00\x00\x00\x18ftypheic", "image/heif") == "image/heic"
    assert checked_type(b"%PDF-1.4", "") == "application/pdf"
    assert checked_type(b"%PDF-1.4", "application/octet-stream") == "application/pdf"


@pytest.mark.parametrize(
    ("head", "stated", "error", "says"),
    [
        (b"", "", MediaCorrupt, "empty"),
        (b"hello", "", MediaTypeUnsupported, "no document, image, audio or video"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "", MediaTypeUnsupported, "save it as .docx"),
        (b"Rar!\x1a\x07", "", MediaTypeUnsupported, "make it a .zip"),
        (b"he\x00llo", "text/plain", MediaTypeUnsupported, "no document"),
        (b"PK\x03\x04", "application/pdf", MediaTypeMismatch, "is application/zip"),
        (b"<svg xmlns=", "image/svg+xml", MediaTypeUnsupported, "SVG"),
        (b"%PDF-1.4", "image/png", MediaTypeMismatch, "is application/pdf"),
    ],
)
def test_wrong_bytes_are_refused_with_a_reason(head, stated, error, says):
    with pytest.raises(error, match=says):
        checked_type(head, stated, "scan.pdf")


def test_texts_are_what_they_are_said_to_be():
    assert checked_type(b"hello", "", "notes.TXT") == "text/plain"
    assert checked_type(b"a;b\n1;2", "text/csv; charset=utf-8") == "text/plain"
    assert checked_type(b"From: a@b\nTo: c@d\n\n", "", "mail.txt") == "text/plain"
    assert checked_type(b"From: a@b\nTo: c@d\n\n", "application/octet-stream") == "message/rfc822"
    assert checked_type(b"<custom>", "", "page.htm") == "text/html"
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        assert checked_type(mark + "hello".encode(encoding), "", "notes.txt") == "text/plain"
    assert checked_type(b"\xff\xfe\x90\x00" + bytes(8), "", "sound.mp3") == "audio/mpeg"
    assert checked_type(b"X-Odd: 1\n\n", "message/rfc822") == "message/rfc822"


def test_whoever_opens_an_archive_sees_what_its_head_does_not_show():
    assert checked_type(b"PK\x03\x04", DOCX_TYPE) == DOCX_TYPE
    assert checked_type(b"PK\x03\x04", "application/vnd.ms-excel.sheet.macroEnabled.12") == XLSX_TYPE


def test_a_claimed_size_is_read_without_decoding():
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 65535, 65535)
    gif = b"GIF89a" + struct.pack("<HH", 640, 480)
    jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08" + struct.pack(">HH", 600, 800) + b"\x03"
    assert image_size(png) == (65535, 65535)
    assert image_size(gif) == (640, 480)
    assert image_size(jpeg) == (800, 600)
    assert image_size(b"%PDF-1.4") is None
    with pytest.raises(InputTooLarge) as caught:
        check_pixels(png, 100_000_000)
    assert caught.value.metadata["limit"] == "100000000"
    check_pixels(gif, 100_000_000)
