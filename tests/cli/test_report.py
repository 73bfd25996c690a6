"""The report of an answer: what its pictures show, what its page says, what it may do, and what it plays."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from html.parser import HTMLParser
from importlib import resources
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from triptych.cli.report import sound_file
from triptych.cli.report.documents import require
from triptych.cli.report.folder import write_report
from triptych.cli.report.marks import AIR_PX, COLOURS, STEP_PX
from triptych.core.errors import FeatureDisabled
from triptych.v1.reasoning_pb2 import ReasoningResult

DATA = resources.files("triptych.cli") / "demo_data"
BOX = [0.25, 0.25, 0.75, 0.25, 0.75, 0.5, 0.25, 0.5]
RED, BLUE = (ImageColor.getrgb(colour) for colour in COLOURS[:2])
NASTY = "</style><script>alert('\"&')</script>"


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.raw: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside in ("style", "script"):
            self.raw[self._inside] = data
        else:
            self.text += data
        self._inside = ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def on_page(number: int, polygon: list[float], document: str = "d1") -> dict:
    page = {"page_number": 1, "polygon": polygon}
    return {"evidence_id": f"e{number}", "document_id": document, "quote": "q", "quote_match": 1, "page": page}


def in_sound(number: int, start_ms: int, end_ms: int, document: str = "d1") -> dict:
    audio = {"start_ms": start_ms, "end_ms": end_ms}
    return {"evidence_id": f"e{number}", "document_id": document, "quote": "q", "quote_match": 1, "audio": audio}


def written(folder: Path, result: ReasoningResult, *files: Path, question: str = "What?") -> Elements:
    report = write_report(folder, question, result, {f"d{number}": file for number, file in enumerate(files, 1)})
    return Elements(report.index.read_text("utf-8"))


def white(path: Path, size: tuple[int, int] = (400, 400)) -> Path:
    Image.new("RGB", size, "white").save(path)
    return path


def tone(path: Path, seconds: float, codec: str, **options: str) -> Path:
    """Writes a sine of 440 Hz."""
    wave = (8000 * np.sin(2 * math.pi * 440 * np.arange(int(16_000 * seconds)) / 16_000)).astype(np.int16)
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_frame_is_drawn_where_the_viewer_sees_it(tmp_path: Path) -> None:
    # Lying on its side in the file, upright for a viewer: the coordinates mean the latter.
    image = Image.new("RGB", (400, 200), (255, 255, 255))
    ImageDraw.Draw(image).rectangle((0, 0, 20, 20), fill=(0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "photo.png", exif=exif)
    written(tmp_path / "out", ReasoningResult(evidence=[on_page(1, BOX)]), tmp_path / "photo.png")
    with Image.open(tmp_path / "out" / "place-1.png") as drawn:
        assert drawn.size == (1200, 2400)
        # The left edge of the frame, which has some air around the words.
        assert drawn.getpixel((300 - AIR_PX, 900)) == RED
        assert drawn.getpixel((600, 900)) == (255, 255, 255)


def test_all_evidence_of_a_page_is_on_one_picture_each_in_its_colour(tmp_path: Path) -> None:
    evidence = [on_page(1, BOX), on_page(2, [0.1, 0.8, 0.3, 0.8, 0.3, 0.9, 0.1, 0.9])]
    with resources.as_file(DATA / "invoice_scan.pdf") as file:
        page = written(tmp_path, ReasoningResult(evidence=evidence), file)
    [picture] = page.all("img")
    assert picture["src"] == "place-1.png"
    assert "invoice_scan.pdf, page 1 with e1, e2 marked" in (picture["alt"] or "")
    with Image.open(tmp_path / "place-1.png") as drawn:
        assert {RED, BLUE} <= {color for _, color in drawn.getcolors(1_000_000)}


def test_frames_around_the_same_words_are_both_seen(tmp_path: Path) -> None:
    result = ReasoningResult(evidence=[on_page(1, BOX), on_page(2, BOX)])
    written(tmp_path, result, white(tmp_path / "page.png"))
    with Image.open(tmp_path / "place-1.png") as drawn:
        assert drawn.getpixel((300 - AIR_PX, 450)) == RED
        assert drawn.getpixel((300 - AIR_PX - STEP_PX, 450)) == BLUE


def test_a_name_stands_where_nothing_is_written(tmp_path: Path) -> None:
    image = Image.new("RGB", (1200, 1200), "white")
    # A line of strokes above the box, where a name would stand otherwise.
    for x in range(290, 400, 4):
        ImageDraw.Draw(image).line((x, 255, x, 285), "black", 2)
    image.save(tmp_path / "page.png")
    written(tmp_path, ReasoningResult(evidence=[on_page(1, BOX), on_page(2, BOX)]), tmp_path / "page.png")
    with Image.open(tmp_path / "place-1.png") as drawn:
        strokes = drawn.crop((290, 255, 400, 285))
        assert {color for _, color in strokes.getcolors()} == {(255, 255, 255), (0, 0, 0)}


def test_white_names_can_be_read_on_every_colour() -> None:
    def luminance(colour: str) -> float:
        parts = [value / 255 for value in ImageColor.getrgb(colour)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    # WCAG 2.1, success criterion 1.4.3.
    assert all(1.05 / (luminance(colour) + 0.05) >= 4.5 for colour in COLOURS)
    assert all(one != other for one, other in combinations(COLOURS, 2))


def test_spans_of_one_recording_share_a_wave_and_are_played_where_they_are_cited(tmp_path: Path) -> None:
    result = ReasoningResult(evidence=[in_sound(1, 13_200, 13_600), in_sound(2, 100, 900)])
    with resources.as_file(DATA / "voice_memo.ogg") as file:
        page = written(tmp_path, result, file)
        assert (tmp_path / "place-1.ogg").read_bytes() == file.read_bytes()
    [player] = page.all("audio")
    assert player["src"] == "place-1.ogg#t=12.900"
    links = [link for link in page.all("a") if "data-plays" in link]
    assert [(link["data-start"], link["data-end"]) for link in links] == [("12.9", "14.2"), ("0.0", "1.5")]
    assert links[0]["href"] == "place-1.ogg#t=12.900,14.200"
    with Image.open(tmp_path / "place-1.png") as drawn:
        assert {RED, BLUE} <= {color for _, color in drawn.getcolors(1_000_000)}


@pytest.mark.parametrize(
    ("name", "codec", "ending"),
    [("a.wav", "pcm_s16le", ".wav"), ("a.flac", "flac", ".flac"), ("a.aiff", "pcm_s16be", ".ogg")],
)
def test_a_sound_that_browsers_do_not_play_is_converted(tmp_path: Path, name: str, codec: str, ending: str) -> None:
    file = tone(tmp_path / name, 2.0, codec)
    written(tmp_path / "out", ReasoningResult(evidence=[in_sound(1, 500, 900)]), file)
    copy = tmp_path / "out" / f"place-1{ending}"
    if ending != ".ogg":
        assert copy.read_bytes() == file.read_bytes()
        return
    with av.open(str(copy)) as container:
        assert container.streams.audio[0].codec_context.name == "opus"
        heard = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    # As long as it was, and the same tone.
    assert abs(len(heard) / 48_000 - 2.0) < 0.05
    spectrum = np.abs(np.fft.rfft(heard[24_000:72_000]))
    assert abs(int(spectrum.argmax()) - 440) <= 2


def test_a_large_recording_is_carried_along_compressed_and_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_file, "MAX_COPY_BYTES", 1000)
    monkeypatch.setattr(sound_file, "MAX_CONVERTED_S", 1)
    written(
        tmp_path / "out", ReasoningResult(evidence=[in_sound(1, 500, 900)]), tone(tmp_path / "a.wav", 5, "pcm_s16le")
    )
    with av.open(str(tmp_path / "out" / "place-1.ogg")) as container:
        assert 0.9 < (container.duration or 0) / 1e6 < 1.6


def test_a_frame_of_a_film_is_the_one_that_was_shown(tmp_path: Path) -> None:
    colours = ((200, 30, 30), (30, 200, 30), (30, 30, 200))
    file = tmp_path / "film.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for number in range(30):
            image = np.full((64, 64, 3), colours[number // 10], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    evidence = on_page(1, BOX)
    evidence["page"]["frame_ms"] = 1500
    page = written(tmp_path / "out", ReasoningResult(evidence=[evidence]), file)
    assert "film.mp4, frame at 00:01.500" in page.text
    with Image.open(tmp_path / "out" / "place-1.png") as drawn:
        assert max(abs(a - b) for a, b in zip(drawn.getpixel((600, 600)), colours[1], strict=True)) < 25


def test_what_documents_say_is_text_and_never_markup(tmp_path: Path) -> None:
    evidence = {**on_page(1, BOX), "quote": NASTY, "json_pointer": NASTY}
    file = white(tmp_path / "<img src=x onerror=alert(1)>.png")
    result = ReasoningResult(
        answer={"status": 1, "text": f"{NASTY} [e1] [e9]", "output_json": '{"a": "</script><b>"}'},
        evidence=[evidence],
        values=[{"json_pointer": "/a", "raw": NASTY, "evidence_ids": ["e1", NASTY]}],
        documents=[{"document_id": "d1", "media_type": NASTY, "error": {"code": 3, "message": NASTY}}],
        stages=[{"stage": NASTY, "model": {"model": NASTY, "licence": NASTY}}],
        pipeline={"name": NASTY},
    )
    page = written(tmp_path / "out", result, file, question=NASTY)
    assert len(page.all("script")) == 1
    assert len(page.all("img")) == 1
    assert not page.all("b")
    assert page.text.count(NASTY) >= 9
    assert not any(name.startswith("on") or name == "style" for _, given in page.elements for name in given)
    # What is no evidence is no link.
    assert "[e9]" in page.text


def test_the_page_may_run_its_own_script_and_load_what_lies_beside_it_only(tmp_path: Path) -> None:
    page = written(tmp_path, ReasoningResult(evidence=[on_page(1, BOX)]), white(tmp_path / "page.png"))
    [policy] = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert (rules["img-src"], rules["media-src"]) == ("'self'", "'self'")
    for name in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.raw[name].encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
    sources = [given[key] or "" for _, given in page.elements for key in ("src", "href") if key in given]
    assert all(re.fullmatch(r"#[\w-]+|place-1\.png", source) for source in sources)


def test_links_lead_from_the_answer_to_the_card_to_the_box_and_back(tmp_path: Path) -> None:
    result = ReasoningResult(answer={"status": 1, "text": "It is q [e1]."}, evidence=[on_page(1, BOX)])
    page = written(tmp_path, result, white(tmp_path / "page.png"))
    targets = {given["id"] for _, given in page.elements if "id" in given}
    links = [link["href"] for link in page.all("a")]
    assert links == ["#evidence-1", "#evidence-1", "#box-1"]
    assert {link.removeprefix("#") for link in links} <= targets
    assert "#box-1{left:25.000%;top:25.000%;width:50.000%;height:25.000%}" in page.raw["style"]


def test_a_structured_answer_shows_every_value_with_what_the_document_has(tmp_path: Path) -> None:
    result = ReasoningResult(
        answer={
            "status": 2,
            "output_json": '{"total": 610.0, "lines": [{"a/b": "x"}], "due": null}',
            "confidence": 0.5,
        },
        evidence=[on_page(1, BOX)],
        values=[
            {"json_pointer": "/total", "status": 1, "raw": "$610.00", "confidence": 0.93, "evidence_ids": ["e1"]},
            {"json_pointer": "/lines/0/a~1b", "status": 1, "raw": "X"},
            {"json_pointer": "/due", "status": 3},
        ],
    )
    page = written(tmp_path, result, white(tmp_path / "page.png"))
    assert re.search(r"/total\s*610.0\s*\$610.00\s*answered\s*0.93\s*e1", page.text)
    assert re.search(r"/lines/0/a~1b\s*x\s*X\s*answered", page.text)
    assert re.search(r"/due\s*–\s*not found", page.text)


def test_words_without_a_page_are_quoted_and_made_up_ones_named(tmp_path: Path) -> None:
    text = {"part": "sheet 'Costs', B7", "text_start": 3, "text_end": 9}
    result = ReasoningResult(
        evidence=[
            {"evidence_id": "e1", "document_id": "d1.1", "quote": "Costs", "quote_match": 1, "text": text},
            {"evidence_id": "e2", "quote": "made up", "quote_match": 3},
        ],
        documents=[
            {"document_id": "d1", "media_type": "application/zip"},
            {"document_id": "d1.1", "parent_document_id": "d1", "path": "a/costs.xlsx"},
        ],
    )
    (tmp_path / "all.zip").write_bytes(b"PK\x03\x04")
    page = written(tmp_path / "out", result, tmp_path / "all.zip")
    assert "all.zip: a/costs.xlsx" in page.text
    assert "sheet 'Costs', B7" in page.text
    assert "not found in the documents: treat with suspicion" in page.text
    assert not page.all("img")


def test_a_file_that_cannot_be_shown_costs_its_picture_only(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\ntorn")
    result = ReasoningResult(answer={"status": 1, "text": "q"}, evidence=[on_page(1, BOX)])
    report = write_report(tmp_path / "out", "What?", result, {"d1": tmp_path / "torn.png"})
    assert report.failures
    assert report.failures[0].startswith("torn.png cannot be shown")
    assert report.failures[0] in Elements(report.index.read_text("utf-8")).text.replace("\n", " ")


def test_a_missing_package_is_named_before_anything_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pypdfium2" else object())
    require([white(tmp_path / "page.png")])
    with resources.as_file(DATA / "invoice_scan.pdf") as file, pytest.raises(FeatureDisabled, match="pypdfium2"):
        require([file])
    # Text in UTF-16, which may begin as MPEG audio does, is no sound.
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (tmp_path / "notes.txt").write_bytes(b"\xff\xfe" + "Pay 12.".encode("utf-16-le"))
    require([tmp_path / "notes.txt"])
