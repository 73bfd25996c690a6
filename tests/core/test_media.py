"""Bytes are recognized by their head, before anything decodes them."""

import struct

import pytest

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaTypeMismatch, MediaTypeUnsupported
from triptych.core.media import check_pixels, checked_type, image_size, sniff

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
    b"PK\x03\x04": "",
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
        (b"hello", "", MediaTypeUnsupported, "no PDF"),
        (b"PK\x03\x04", "", MediaTypeUnsupported, "convert it to PDF"),
        (b"<svg xmlns=", "image/svg+xml", MediaTypeUnsupported, "SVG"),
        (b"%PDF-1.4", "image/png", MediaTypeMismatch, "is application/pdf"),
    ],
)
def test_wrong_bytes_are_refused_with_a_reason(head, stated, error, says):
    with pytest.raises(error, match=says):
        checked_type(head, stated, "scan.pdf")


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
    assert caught.value.metadata["limit"] == "1e+08"
    check_pixels(gif, 100_000_000)
