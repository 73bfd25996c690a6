"""What is in an office file, a web page, a message, an archive or a video, and where in it."""

import datetime
import io
import warnings
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from workers.converters.files import archive, message, opened, picture, png, sheet, slides, video, word

from triptych.core.document_types import (
    DOCX_TYPE,
    HTML_TYPE,
    MESSAGE_TYPE,
    PPTX_TYPE,
    TEXT_TYPE,
    XLSX_TYPE,
    ZIP_TYPE,
)
from triptych.core.errors import MediaTypeUnsupported
from triptych.workers.converters.converter import Spent
from triptych.workers.converters.members import shown
from triptych.workers.converters.sheets import shown as shown_value

CLIP = Path(__file__).parents[2] / "data" / "audio" / "en-kennedy.opus"


async def test_a_word_file_gives_paragraphs_tables_footers_and_large_pictures():
    data = word(
        "Lease of the house",
        "",
        "The rent is due on the first.",
        table=[("Item", "Amount"), ("Rent", "1,200"), ("Water", "35")],
        images=[png("Signed by Ada"), png("x", (40, 40))],
    )
    found = await opened(data, DOCX_TYPE)
    assert found.lines == [
        "Lease of the house",
        "The rent is due on the first.",
        "Item | Amount",
        "Item: Rent | Amount: 1,200",
        "Item: Water | Amount: 35",
        "Confidential",
    ]
    assert found.part_of("The rent") == "paragraph 2"
    assert found.part_of("1,200") == "table 1, row 2"
    assert found.part_of("Confidential") == "footer"
    (picture,) = found.members
    assert found.bytes_of(picture.source) == png("Signed by Ada")
    assert picture.path.startswith("word/media/")


async def test_deleted_text_is_left_out_and_content_controls_are_read():
    from docx import Document
    from docx.oxml import parse_xml

    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    document = Document()
    document.element.body.insert(
        0, parse_xml(f"<w:sdt {space}><w:sdtContent><w:p><w:r><w:t>Name: Ada</w:t></w:r></w:p></w:sdtContent></w:sdt>")
    )
    document.element.body.insert(
        1,
        parse_xml(
            f"<w:p {space}><w:del><w:r><w:t>ten</w:t></w:r></w:del><w:ins><w:r><w:t>twelve</w:t></w:r></w:ins>"
            "<w:r><w:tab/><w:t>days</w:t></w:r></w:p>"
        ),
    )
    file = io.BytesIO()
    document.save(file)
    assert (await opened(file.getvalue(), DOCX_TYPE)).lines == ["Name: Ada", "twelve days"]


async def test_slides_give_text_notes_and_each_picture_once():
    data = slides(("Plan", "Start in May", ""), ("Costs", "7,000 euros", "Ask Bo first"), image=png("Map"))
    found = await opened(data, PPTX_TYPE)
    assert found.lines == ["Plan", "Start in May", "Costs", "7,000 euros", "Ask Bo first"]
    assert found.part_of("7,000") == "slide 2"
    assert found.part_of("Ask Bo") == "slide 2, notes"
    assert found.paths == ["slide 1, picture 1"]


async def test_a_sheet_gives_values_as_shown_with_the_heads_of_their_columns():
    data = sheet(
        [["Budget"], [], ["Item", "Amount", "Due"], ["Rent", 1200.5, datetime.date(2025, 3, 1)], ["Tax", 0.19, None]],
        formats=[("B4", '#,##0.00 "EUR"'), ("B5", "0%")],
    )
    found = await opened(data, XLSX_TYPE)
    assert found.lines == [
        "Sheet Costs",
        "Budget",
        "Item | Amount | Due",
        "Item: Rent | Amount: 1,200.50 EUR | Due: 2025-03-01",
        "Item: Tax | Amount: 19%",
    ]
    assert found.part_of("1,200.50") == "sheet 'Costs', B4"
    assert found.part_of("Amount: 19") == "sheet 'Costs', B3"
    assert found.part_of("19%") == "sheet 'Costs', B5"


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (1234.5, "General", "1234.5"),
        (1234.5, "[$€-407]#,##0.00", "€1,234.50"),
        (1234.5, "$#,##0", "$1,234"),
        (7, "0000", "0007"),
        (0.125, "0.0%", "12.5%"),
        (5, '0 "kg"', "5 kg"),
        (True, "General", "TRUE"),
        (datetime.datetime.fromisoformat("2025-03-01T09:30"), "", "2025-03-01 09:30"),
    ],
)
def test_values_are_written_about_as_the_program_shows_them(value, number_format, text):
    assert shown_value(value, number_format) == text


async def test_a_web_page_gives_what_is_shown_and_fetches_nothing():
    page = """<!doctype html><html><head><title>no</title><style>no</style></head><body>
      <p>Dear <b>Ada</b>,<br>welcome</p><script>no()</script><div hidden>no</div><div style="display: none">no</div>
      <table><tr><th>Item</th><th>Price</th></tr><tr><td>Tea</td><td>4</td></tr></table>
      <img src="http://127.0.0.1:9/x.png" alt="our logo"><link rel=stylesheet href="file:///etc/passwd"></body>"""
    found = await opened(page.encode(), HTML_TYPE)
    assert found.lines == ["Dear Ada,", "welcome", "Item | Price", "Item: Tea | Price: 4", "our logo"]
    assert found.part_of("welcome") == "paragraph 2"
    assert found.part_of("Tea") == "table 1, row 2"


async def test_texts_are_decoded_by_mark_declaration_or_guess():
    latin = '<html><meta charset="iso-8859-1"><p>Müller</p></html>'.encode("latin-1")
    assert (await opened(latin, HTML_TYPE)).lines == ["Müller"]
    assert (await opened("a\n\nMüller".encode("utf-16"), TEXT_TYPE)).lines == ["a", "Müller"]
    found = await opened("café\n5 €".encode("cp1252"), TEXT_TYPE)
    assert found.lines == ["café", "5 €"]
    assert found.part_of("5 €") == "line 2"


async def test_a_message_gives_headers_body_and_what_is_attached():
    inner = message("The first offer.", subject="Older")
    mail = message(
        "We offer 7,000.\n\nBo",
        html="<p>We offer 7,000.</p>",
        attachments=[
            ("offer.pdf", b"%PDF-1.7\n", "application/pdf"),
            ("", inner, ""),
            ("sign.asc", b"x", "application/pgp-signature"),
            (None, b"BEGIN:VCALENDAR", "text/calendar"),
        ],
    )
    found = await opened(mail.as_bytes(), MESSAGE_TYPE)
    assert found.lines == [
        "From: Ada Byron <ada@example.com>",
        "To: Bo <bo@example.com>",
        "Date: Mon, 03 Mar 2025 10:00:00 +0000",
        "Subject: Offer",
        "We offer 7,000.",
        "Bo",
    ]
    assert found.part_of("Subject: Offer") == "Subject"
    assert found.part_of("7,000") == "body"
    assert found.paths == ["offer.pdf", "message 2.eml", "part 3.ics"]
    again = await opened(found.bytes_of(found.members[1].source), MESSAGE_TYPE)
    assert "The first offer." in again.lines


async def test_a_message_in_html_alone_is_read_as_a_page():
    mail = message()
    mail.set_content("<p>Pay by <b>May 3</b></p>", subtype="html")
    found = await opened(mail.as_bytes(), MESSAGE_TYPE)
    assert found.lines[-1] == "Pay by May 3"
    assert found.part_of("Pay by") == "body"


async def test_an_archive_gives_its_documents_without_what_systems_leave():
    members = [("a/scan.pdf", b"%PDF-1.7"), ("__MACOSX/a/._scan.pdf", b"x"), ("a/.DS_Store", b"x"), ("b.txt", b"hello")]
    found = await opened(archive(members), ZIP_TYPE)
    assert found.contents.text is None
    assert found.paths == ["a/scan.pdf", "b.txt"]
    assert found.bytes_of(found.members[0].source) == b"%PDF-1.7"
    assert [member.source.display_name for member in found.members] == ["scan.pdf", "b.txt"]


async def test_members_of_one_name_can_be_told_apart():
    with warnings.catch_warnings(action="ignore"):
        twice = archive([("a.txt", b"one"), ("a.txt", b"two")])
    assert (await opened(twice, ZIP_TYPE)).paths == ["a.txt", "a.txt (2)"]


async def test_an_office_file_that_looks_like_an_archive_is_opened_as_what_it_is():
    found = await opened(word("Hello there"), ZIP_TYPE)
    assert found.contents.media_type == DOCX_TYPE
    assert found.lines[0] == "Hello there"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\Windows\\x.txt", "Windows/x.txt"),
        ("a/./b\x00\x1b[31m\u202e.txt", "a/b[31m.txt"),
        ("..", "unnamed"),
        ("x" * 300, "x" * 255),
    ],
)
def test_names_of_members_lead_nowhere(path, name):
    assert shown(path) == name


async def test_what_came_out_is_counted_for_all_depths_together():
    spent = Spent()
    await opened(archive([("a.txt", b"x" * 100), ("b.txt", b"y" * 50)]), ZIP_TYPE, spent=spent)
    assert (spent.member_count, spent.size_bytes) == (2, 150)


async def test_a_video_gives_a_frame_for_each_thing_that_is_shown():
    found = await opened(video(["Agenda", "Costs 7,000", "Thanks"], sound=CLIP), "video/mp4")
    assert found.contents.heard
    assert [round(at / 1000) for at in found.contents.frames_ms] == [0, 3, 6]
    pages = Image.open(io.BytesIO(found.bytes_of(found.frames)))
    assert (pages.n_frames, pages.size) == (3, (640, 360))


async def test_a_few_letters_that_change_are_something_new_and_a_pointer_that_moves_is_not():
    texts = [f"Budget of the year: {number} euros" for number in ("1,000", "7,250", "4,600")]
    pointer = [(picture("Agenda", (1280, 720)), place) for place in (100, 500, 900)]
    for image, place in pointer:
        ImageDraw.Draw(image).polygon([(place, 400), (place, 424), (place + 16, 416)], fill="black")
    found = await opened(
        video([*texts, *(image for image, _ in pointer)], seconds_each=2, size=(1280, 720)), "video/mp4"
    )
    assert [round(at / 1000) for at in found.contents.frames_ms] == [0, 2, 4, 6]


async def test_frames_of_a_video_are_bounded_and_spread():
    data = video([f"Slide {'ABCDEFGHIJKLMN'[number] * 9}" for number in range(12)], seconds_each=2)
    found = await opened(data, "video/mp4", max_video_frames=5)
    assert not found.contents.heard
    assert 3 <= len(found.contents.frames_ms) <= 5
    assert found.contents.frames_ms[-1] > 12_000
    assert not (await opened(data, "video/mp4", max_video_frames=0)).contents.frames_ms


async def test_of_a_long_video_only_key_frames_are_looked_at():
    found = await opened(video(["Agenda", "Costs 7,000", "Thanks"], seconds_each=70, fps=1), "video/mp4")
    # There is one in twelve seconds.
    assert [round(at / 1000) for at in found.contents.frames_ms] == [0, 72, 144]


async def test_a_recording_in_a_film_container_has_no_frames():
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as target, av.open(str(CLIP)) as source:
        voice = target.add_stream("aac", rate=48000, layout="mono")
        for frame in source.decode(audio=0):
            frame.pts = None
            target.mux(voice.encode(frame))
        target.mux(voice.encode())
    found = await opened(file.getvalue(), "video/mp4")
    assert (found.contents.heard, found.frames) == (True, None)


async def test_headers_in_a_wrong_encoding_are_text_all_the_same():
    found = await opened(b"From: M\xfcller <a@example.com>\nTo: b@example.com\nSubject: \xff\n\nHi", MESSAGE_TYPE)
    found.contents.text.encode()
    assert found.lines[-1] == "Hi"


async def test_an_encrypted_message_says_so():
    mail = b"From: a@example.com\nTo: b@example.com\nContent-Type: multipart/encrypted; boundary=x\n\n--x--\n"
    with pytest.raises(MediaTypeUnsupported, match="encrypted"):
        await opened(mail, MESSAGE_TYPE)
