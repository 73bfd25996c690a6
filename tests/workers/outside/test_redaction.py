"""What the policy redacts does not reach the server: looked for in the very pixels and bytes that came there."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from workers.documents import picture
from workers.outside.conftest import prompt

from triptych.core.errors import EgressDenied
from triptych.core.policy import Rule
from triptych.v1.ocr_pb2 import OcrPage, TextLine, TextWord
from triptych.workers.outside.redaction import redacted

WHOLE = (0.0, 0.0, 1.0, 1.0)
WAIT_S = 120
POLICY = """
[tenants.acme]
budget = 100
[tenants.acme.public]
models = ["far"]
"""
SECRET = "4929-1234-5678"
PATTERNS = "redact_patterns = ['\\d{4}-\\d{4}-\\d{4}']"


def received(world, number=-1):
    """The images of a request, as the server got them."""
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2]))))
        for turn in world.chat.requests[number]["messages"]
        for part in turn["content"]
        if isinstance(part, dict) and part["type"] == "image_url"
    ]


def test_boxes_of_pages_are_painted_over_in_what_the_server_gets(world):
    world.open(POLICY + "redact_boxes = [[0.5, 0.0, 1.0, 0.25]]")
    page = np.full((100, 200, 3), 200, np.uint8)
    world.ask(prompt("see", page)).result(WAIT_S)
    [image] = received(world)
    assert image.shape == page.shape
    assert not image[:25, 100:].any()
    assert (image[27:] == 200).all()
    assert (image[:, :98] == 200).all()
    assert (page == 200).all()
    assert world.entries()[0].leaving.redaction_count == 1


@pytest.mark.parametrize(
    ("crop", "black"),
    [
        ((0.0, 0.0, 1.0, 0.5), (slice(0, 50), slice(100, 200))),
        ((0.5, 0.0, 1.0, 0.25), (slice(0, 100), slice(0, 200))),
        ((0.25, 0.0, 0.75, 1.0), (slice(0, 25), slice(100, 200))),
        ((0.0, 0.5, 1.0, 1.0), None),
    ],
)
def test_a_box_is_a_place_of_the_page_whatever_part_of_it_is_shown(crop, black):
    rule = Rule(models=("far",), redact_boxes=((0.5, 0.0, 1.0, 0.25),))
    shown = np.full((100, 200, 3), 255, np.uint8)
    cleaned, count = redacted(prompt(shown), rule, [crop], lambda _: [])
    [image] = cleaned.images()
    assert count == (black is not None)
    if black is None:
        assert (image == 255).all()
    else:
        assert not image[black].any()
        # Two pixels more around it.
        assert (image == 0).all(axis=2).sum() <= (black[0].stop + 2) * (black[1].stop - max(0, black[1].start - 2))


def test_texts_lose_what_matches_in_every_turn(world):
    world.open(POLICY + PATTERNS)
    asked = prompt(f"Card {SECRET} and {SECRET}?", "nothing here")
    world.ask(asked).result(WAIT_S)
    assert world.chat.requests[0]["messages"][0]["content"][0]["text"] == "Card [redacted] and [redacted]?"
    assert SECRET.encode() not in world.chat.received
    assert world.entries()[0].leaving.redaction_count == 2


@pytest.mark.parametrize(
    ("text", "patterns", "left"),
    [
        # The second matches only as long as the first has taken nothing out.
        ("Customer 123-456 John Smith", [r"\d+-\d+", r"Customer \S+ John Smith"], "[redacted]"),
        ("call 555\n1234 now", ["555 1234"], "call [redacted] now"),
        ("call 555\r\n1234 now", [r"555\s+1234"], "call [redacted] now"),
        ("abcde and f", ["abc", "cde", "f"], "[redacted] and [redacted]"),
    ],
)
def test_all_patterns_see_the_text_as_it_is_and_over_the_ends_of_lines(text, patterns, left):
    rule = Rule(models=("far",), redact_patterns=tuple(map(re.compile, patterns)))
    cleaned, count = redacted(prompt(text), rule, [], lambda _: [])
    assert cleaned.turns == (("user", (left,)),)
    assert count == left.count("[redacted]")


@pytest.mark.parametrize(
    "options",
    [
        {"stop_sequences": (SECRET,)},
        {"schema": f'{{"const": "{SECRET}"}}'},
        {"schema": f'{{"const": "{SECRET}"}}'.replace("4", "\\u0034")},
        {"schema": f'{{"properties": {{"{SECRET}": true}}}}'.replace("-", "\\u002d")},
        {"schema": '{"enum": [["4929-12\\u00334-5678"]]}'},
    ],
)
def test_what_cannot_be_taken_out_is_refused(world, options):
    world.open(POLICY + PATTERNS)
    stops = {name: value for name, value in options.items() if name == "stop_sequences"}
    sender = {name: value for name, value in options.items() if name == "schema"}
    with pytest.raises(EgressDenied):
        world.ask(prompt("hello", **stops), **sender).result(WAIT_S)
    assert world.chat.connections == 0


def test_texts_read_elsewhere_are_refused_where_places_are_redacted(world):
    world.open(POLICY + "redact_boxes = [[0, 0, 1, 0.1]]")
    with pytest.raises(EgressDenied, match="where texts of this prompt stood"):
        world.ask(prompt("hello"), quotes_pages=True).result(WAIT_S)
    assert world.chat.connections == 0


def test_images_without_a_place_on_their_pages_are_refused():
    rule = Rule(models=("far",))
    with pytest.raises(EgressDenied):
        redacted(prompt(np.zeros((4, 4, 3), np.uint8)), rule, [], lambda _: [])


def test_patterns_in_pages_are_refused_where_nobody_can_read_them(world, tmp_path):
    world.open(POLICY + PATTERNS)
    world.outside.catalog.models_dir = tmp_path / "nothing"
    with pytest.raises(EgressDenied, match="pp-ocrv6-small"):
        world.ask(prompt("see", np.asarray(picture("Card", SECRET)))).result(WAIT_S)
    assert world.chat.connections == 0


def test_weights_that_are_broken_refuse_too(world, tmp_path, models_dir):
    world.open(POLICY + PATTERNS)
    shutil.copytree(models_dir / "pp-ocrv6-small", tmp_path / "pp-ocrv6-small", symlinks=False)
    for path in (tmp_path / "pp-ocrv6-small").rglob("inference.onnx"):
        path.write_bytes(b"x" * path.stat().st_size)
    world.outside.catalog.models_dir = tmp_path
    with pytest.raises(EgressDenied, match="cannot be loaded"):
        world.ask(prompt("see", np.asarray(picture("Card", SECRET)))).result(WAIT_S)
    assert world.chat.connections == 0


@pytest.mark.weights
def test_words_of_pages_that_match_are_painted_over_and_the_others_stay(world, models_dir):
    from triptych.workers.outside.page_reader import PageReader

    world.open(POLICY + PATTERNS)
    world.outside.catalog.models_dir = models_dir
    page = np.asarray(picture("Invoice of May", f"Card {SECRET} ok", "Total 610.00"))
    world.ask(prompt("see", page)).result(WAIT_S)
    [image] = received(world)
    assert world.entries()[0].leaving.redaction_count == 1
    # Read by the same OCR: of the page as it was, and as it came there.
    reader = PageReader(world.outside._settings, world.outside.catalog)
    before, after = reader.read([page, image], lambda: False)
    reader.stop()
    assert SECRET in before.text
    assert not any(part in after.text for part in ("4929", "1234", "5678"))
    for word in ("Invoice", "May", "Card", "610.00"):
        assert word in after.text


def line(text, *, top, words=True, start=0):
    """A line of words that are as wide as they are long, 0.02 a character."""
    found, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        left, right = 0.02 * at, 0.02 * (at + len(word))
        found.append(TextWord(text=word, polygon=[left, top, right, top, right, top + 0.1, left, top + 0.1]))
        at += len(word)
    right = 0.02 * len(text)
    return TextLine(
        text=text,
        polygon=[0, top, right, top, right, top + 0.1, 0, top + 0.1],
        text_start=start,
        text_end=start + len(text),
        words=found if words else [],
    )


def page_of(*lines):
    read, start = [], 0
    for number, (text, words) in enumerate(lines):
        read.append(line(text, top=0.2 * number, words=words, start=start))
        start += len(text) + 1
    return OcrPage(text="\n".join(text for text, _ in lines), lines=read)


def painted(page, pattern):
    rule = Rule(models=("far",), redact_patterns=(re.compile(pattern),))
    blank = np.full((100, 1000, 3), 255, np.uint8)
    cleaned, _ = redacted(prompt(blank), rule, [WHOLE], lambda _: [page])
    return cleaned.images()[0]


def test_a_match_over_the_end_of_a_line_is_found():
    image = painted(page_of(("call 555", True), ("1234 now", True)), r"555\s1234")
    assert not image[1:9, 102:158].any()
    assert not image[21:29, 2:78].any()
    assert (image[21:29, 110:] == 255).all()
    assert (image[1:9, :60] == 255).all()


@pytest.mark.parametrize("lines", [[("ab 1234 cd", False)], [("ab 1234 cd", True)]])
def test_a_line_whose_words_are_not_known_goes_as_a_whole(lines):
    page = page_of(*lines)
    if lines[0][1]:
        page.lines[0].words[0].text = "something else"
    assert not painted(page, "1234")[1:9, 2:198].any()


def test_a_page_that_was_not_read_refuses():
    page = OcrPage()
    page.error.message = "corrupt"
    with pytest.raises(EgressDenied):
        painted(page, "1234")
