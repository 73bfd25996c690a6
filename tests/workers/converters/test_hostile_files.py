"""Whatever a file is, opening it gives a result or a reason, within bounds."""

import io
import random
import struct
import zipfile

import pytest
from workers.converters.files import archive, error_of, message, opened, png, sheet, slides, video, word

from triptych.core.document_types import (
    DOCX_TYPE,
    HTML_TYPE,
    MESSAGE_TYPE,
    PPTX_TYPE,
    TEXT_TYPE,
    XLSX_TYPE,
    ZIP_TYPE,
)
from triptych.core.errors import (
    InputTooLarge,
    InvalidInput,
    MediaCorrupt,
    MediaEncrypted,
    MediaTypeUnsupported,
)

MIB = 1 << 20
GOOD = {
    DOCX_TYPE: lambda: word("Rent 7,000", table=[("a", "b"), ("c", "d")], images=[png("x")]),
    PPTX_TYPE: lambda: slides(("Plan", "May", "Ask")),
    XLSX_TYPE: lambda: sheet([["Item", "Amount"], ["Rent", 1], ["Tax", 2]]),
    HTML_TYPE: lambda: b"<html><table><tr><td>a</td></tr></table><p>b</p></html>",
    MESSAGE_TYPE: lambda: message("Hi", attachments=[("a.pdf", b"%PDF-1.7", "application/pdf")]).as_bytes(),
    ZIP_TYPE: lambda: archive([("a.pdf", b"%PDF-1.7" * 50), ("b.txt", b"hello " * 20)]),
    TEXT_TYPE: "Grüße\n".encode,
    "video/mp4": lambda: video(["A", "B"], seconds_each=2),
}


def repacked(data, name, content):
    """An office file with another content of one part."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, content if entry.filename == name else source.read(entry))
    return file.getvalue()


async def test_a_bomb_is_refused_before_it_opens():
    bomb = archive([("zeros", bytes(64 * MIB))])
    assert len(bomb) < 100_000
    error = await error_of(bomb, ZIP_TYPE)
    assert isinstance(error, InputTooLarge)
    assert "times as large unpacked" in error.message
    assert isinstance(await error_of(archive([("a", bytes(3 * MIB))]), ZIP_TYPE, max_bytes=2 * MIB), InputTooLarge)


async def test_a_member_that_is_larger_than_it_claims_is_damaged_and_the_others_stand():
    data = bytearray(archive([("a.txt", b"hello"), ("b.txt", b"x" * 5000)]))
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 10)  # the size of the last one, in the directory
    good, bad = (await opened(bytes(data), ZIP_TYPE)).members
    assert good.error is None
    assert isinstance(bad.error, MediaCorrupt)
    assert bad.source is None


async def test_an_archive_of_ten_thousand_members_is_refused():
    many = archive([(f"{number}.txt", b"") for number in range(10_000)], zipfile.ZIP_STORED)
    error = await error_of(many, ZIP_TYPE)
    assert isinstance(error, InputTooLarge)
    assert error.metadata["limit"] == "256"
    assert "TRIPTYCH_MAX_MEMBER_COUNT" in error.metadata["hint"]
    more = archive([(f"{number}/", b"") for number in range(10_001)], zipfile.ZIP_STORED)
    assert isinstance(await error_of(more, ZIP_TYPE), InputTooLarge)


async def test_members_that_cannot_be_had_say_why():
    locked = bytearray(archive([("a.txt", b"hello")]))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = locked.index(mark) + offset
        locked[at] |= 1
    [member] = (await opened(bytes(locked), ZIP_TYPE)).members
    assert isinstance(member.error, MediaEncrypted)
    assert member.error.metadata["hint"] == "unpack it first"
    other = archive([("a.txt", b"hello")], zipfile.ZIP_LZMA)
    assert isinstance((await opened(other, ZIP_TYPE)).members[0].error, MediaTypeUnsupported)
    link = zipfile.ZipInfo("a.txt")
    link.external_attr = 0o120777 << 16
    assert "link" in str((await opened(archive([(link, b"/etc/passwd")]), ZIP_TYPE)).members[0].error)
    assert isinstance(await error_of(archive([]), ZIP_TYPE), MediaCorrupt)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    ("media_type", "name"),
    [(DOCX_TYPE, "word/document.xml"), (PPTX_TYPE, "ppt/presentation.xml"), (XLSX_TYPE, "xl/workbook.xml")],
)
async def test_an_office_file_that_declares_entities_is_refused(media_type, name, encoding):
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY a0 "ha">{laughs}]><x>&a9;</x>'
    error = await error_of(repacked(GOOD[media_type](), name, bomb.encode(encoding)), media_type)
    assert isinstance(error, MediaCorrupt)
    assert "document type" in error.message


async def test_memory_and_time_are_bounded():
    tags = b"<b>" * (4 * MIB)
    assert isinstance(await error_of(tags, HTML_TYPE, max_memory_bytes=48 * MIB), InputTooLarge)
    far = sheet([["a"]])
    rows = "".join(f'<row r="{n}"><c r="XFD{n}"><v>1</v></c></row>' for n in range(1, 150))
    page = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        f"<sheetData>{rows}</sheetData></worksheet>"
    )
    error = await error_of(repacked(far, "xl/worksheets/sheet1.xml", page.encode()), XLSX_TYPE, max_cpu_s=20)
    assert error is None or isinstance(error, InputTooLarge)


async def test_what_is_nested_without_end_gives_a_result_or_a_reason():
    assert (await opened(b"<div>" * 1000 + b"end", HTML_TYPE)).lines == ["end"]
    assert isinstance(await error_of(b"<div>" * 20_000 + b"end", HTML_TYPE), InputTooLarge)
    parts = b"From: a@example.com\nTo: b@example.com\n"
    for number in range(2000):
        parts += b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (number, number)
    error = await error_of(parts + b"\nend", MESSAGE_TYPE)
    assert error is None or isinstance(error, InvalidInput)


async def test_a_word_file_is_not_read_as_another_kind():
    for media_type in (PPTX_TYPE, XLSX_TYPE):
        assert isinstance(await error_of(GOOD[DOCX_TYPE](), media_type), MediaCorrupt)
    assert isinstance(await error_of(GOOD[PPTX_TYPE](), DOCX_TYPE), MediaCorrupt)


async def test_an_office_file_with_macros_is_read_without_them():
    data = GOOD[DOCX_TYPE]()
    plain = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        types = source.read("[Content_Types].xml")
    macros = types.replace(plain, b"application/vnd.ms-word.document.macroEnabled.main+xml")
    assert macros != types
    assert (await opened(repacked(data, "[Content_Types].xml", macros), DOCX_TYPE)).lines[0] == "Rent 7,000"


@pytest.mark.parametrize("media_type", list(GOOD))
async def test_damaged_files_give_a_result_or_a_reason(media_type):
    good, dice = GOOD[media_type](), random.Random(7)
    damaged = [good[: len(good) // 2], b""]
    for _ in range(2):
        bad = bytearray(good)
        for _ in range(1 + len(bad) // 500):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        damaged.append(bytes(bad))
    for data in damaged:
        error = await error_of(data, media_type, max_cpu_s=20)
        assert error is None or isinstance(error, InvalidInput), error
