"""Documents decoded in processes of their own, and what is left of one whose decoder breaks."""

import gc
import io
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from celery.utils.threads import default_socket_timeout
from workers.broken_decoders import COMPUTES, CRASHES, EATS, IS_BUGGY, LEAVES, SLEEPS, WRITES
from workers.documents import encoded, picture, scan, text_pdf

from triptych.core.errors import (
    InputTooLarge,
    InternalError,
    JobCancelled,
    MediaCorrupt,
    MediaEncrypted,
    MediaTypeMismatch,
    MediaTypeUnsupported,
    RangeOutsideSource,
)
from triptych.v1.common_pb2 import InputSource
from triptych.workers.media.fork_server import ForkServer, fork_server
from triptych.workers.media.images import decode_image
from triptych.workers.media.page_limits import PageLimits
from triptych.workers.media.pages import open_pages

LIMITS = PageLimits(max_page_pixels=20_000_000, max_page_count=10, max_page_cpu_s=1, max_bytes=256 << 20)
TEN_PAGES = text_pdf(*([f"page {n}"] for n in range(1, 11)))


def opened(data, *, limits=LIMITS, server=fork_server, check=lambda: None, **source):
    return open_pages(io.BytesIO(data), InputSource(**source), limits, check=check, fork_server=server)


def drawn(pages, number, check=lambda: None):
    return pages.draw(number, dpi=72, check=check)[0]


def children(pid):
    return {
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    }


def decoders(server):
    """The processes of open documents."""
    return children(server._process.pid)


@pytest.fixture
def broken():
    server = ForkServer("workers.broken_decoders")
    yield server
    server.stop()


def test_pixels_and_text_come_as_from_this_process():
    image = picture("HELLO 12345")
    with opened(encoded(image)) as pages:
        pixels, dpi = pages.draw(1, dpi=200, check=lambda: None)
        assert (pages.page_count, dpi, pages.embedded_text(1, dpi=200, words=True)) == (1, 0, None)
    assert np.array_equal(pixels, np.asarray(image))
    assert np.array_equal(pixels, decode_image(encoded(image), max_page_pixels=10**6))
    with opened(text_pdf(["HELLO 12345"])) as pages:
        pixels, dpi = pages.draw(1, dpi=144, check=lambda: None)
        page = pages.embedded_text(1, dpi=144, words=True)
    assert (pixels.shape, dpi) == ((400, 800, 3), 144)
    assert (page.text, page.width_px, page.height_px) == ("HELLO 12345", 800, 400)


def test_a_page_beyond_the_document_is_told_and_the_decoder_stays():
    with opened(TEN_PAGES) as pages:
        before = decoders(fork_server)
        with pytest.raises(RangeOutsideSource):
            drawn(pages, 11)
        drawn(pages, 10)
        assert decoders(fork_server) == before


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (CRASHES, MediaCorrupt, "page 2 cannot be decoded: its decoder ended by SIGSEGV"),
        (COMPUTES, InputTooLarge, "page 4 takes more than 1 s to decode"),
        (EATS, InputTooLarge, "page 5 takes more than 256 MiB to decode"),
        (LEAVES, MediaCorrupt, "page 7 cannot be decoded: its decoder ended by exit code 0"),
        (IS_BUGGY, InternalError, "log"),
    ],
    ids=["crash", "endless loop", "memory", "exit", "bug"],
)
def test_a_decoder_that_breaks_costs_its_page_alone(broken, number, error, words):
    with opened(TEN_PAGES, server=broken) as pages:
        for _ in range(2):
            with pytest.raises(error, match=words):
                drawn(pages, number)
            assert drawn(pages, 1).shape == (200, 400, 3)
        assert pages.embedded_text(number, dpi=72, words=False).text == f"page {number}"
    assert decoders(broken) == set()


def test_a_decoder_that_sleeps_for_ever_is_ended_by_the_clock(broken, monkeypatch):
    monkeypatch.setattr("triptych.workers.media.decoder.MAX_WALL_PER_CPU", 0.2)
    with opened(TEN_PAGES, server=broken) as pages:
        with pytest.raises(InputTooLarge):
            drawn(pages, SLEEPS)
        assert drawn(pages, 1).shape == (200, 400, 3)


def test_what_stops_the_attempt_ends_the_drawing_at_once(broken):
    asked = []

    def stop():
        asked.append(time.monotonic())
        if len(asked) == 3:
            raise JobCancelled("enough")

    with opened(TEN_PAGES, server=broken) as pages:
        before = decoders(broken)
        with pytest.raises(JobCancelled):
            drawn(pages, SLEEPS, check=stop)
        assert len(asked) == 3
        assert not decoders(broken) & before


def test_a_decoder_can_write_no_file(broken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with opened(TEN_PAGES, server=broken) as pages, pytest.raises(MediaCorrupt, match="exit code 1"):
        drawn(pages, WRITES)
    # The name may be made, but no byte of the file.
    assert (tmp_path / "written").stat().st_size == 0


def test_neither_a_decoder_nor_what_forks_it_has_the_workers_secrets(broken, monkeypatch):
    secrets = {"TRIPTYCH_REDIS_URL": "redis://:hidden@host", "AWS_SECRET_ACCESS_KEY": "hidden", "SOME_NAME": "hidden"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    with opened(TEN_PAGES, server=broken) as pages:
        assert drawn(pages, 1).shape == (200, 400, 3)
        for pid in (broken._process.pid, *decoders(broken)):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"PYTHONPATH=" in environment
            assert b"hidden" not in environment
            assert b"TRIPTYCH_" not in environment


def test_each_document_has_a_fresh_process_that_ends_with_it():
    with opened(TEN_PAGES):
        first = decoders(fork_server)
        with opened(TEN_PAGES):
            assert len(decoders(fork_server)) == 2
        assert decoders(fork_server) == first
    assert decoders(fork_server) == set()


def test_a_long_document_is_opened_anew_now_and_then(monkeypatch):
    monkeypatch.setattr("triptych.workers.media.pages.MAX_PAGES_A_DECODER", 3)
    used = []
    with opened(TEN_PAGES) as pages:
        for number in range(1, 11):
            drawn(pages, number)
            (decoder,) = decoders(fork_server)
            used.append(decoder)
    assert [used.count(decoder) for decoder in dict.fromkeys(used)] == [3, 3, 3, 1]


def test_no_descriptor_and_no_process_is_left(broken):
    def count():
        gc.collect()
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    with opened(TEN_PAGES, server=broken) as pages:
        drawn(pages, 1)
    before = count()
    for _ in range(5):
        with opened(TEN_PAGES, server=broken) as pages:
            drawn(pages, 1)
            with pytest.raises(MediaCorrupt):
                drawn(pages, CRASHES)
        for bad in (b"%PDF-1.7 and nothing", b"", b"text"):
            with pytest.raises((MediaCorrupt, MediaTypeUnsupported)):
                opened(bad, server=broken)
    assert count() == before
    assert decoders(broken) == set()


def test_a_fork_server_that_is_killed_is_started_again_and_costs_one_page(broken):
    with opened(TEN_PAGES, server=broken) as pages:
        os.kill(broken._process.pid, signal.SIGKILL)
        broken._process.wait()
        # Linux ends its children with it.
        with pytest.raises(MediaCorrupt):
            drawn(pages, 1)
        assert drawn(pages, 1).shape == (200, 400, 3)


def test_documents_are_decoded_while_celery_shuts_down():
    server = ForkServer()
    # New sockets have a timeout then; one that sends a descriptor would leave it on the pipe.
    with default_socket_timeout(5), opened(text_pdf(["one"], ["two"]), server=server) as pages:
        shapes = [drawn(pages, number).shape for number in (1, 2)]
    with opened(text_pdf(["one"]), server=server) as pages:
        shapes.append(drawn(pages, 1).shape)
    server.stop()
    assert shapes == [(200, 400, 3)] * 3


def test_many_documents_are_decoded_side_by_side():
    document, texts = scan(*(picture(f"PAGE {n}") for n in range(3))), []

    def read(number):
        with opened(document if number % 2 else TEN_PAGES) as pages:
            for page in range(1, pages.page_count + 1):
                drawn(pages, page)
            texts.append(pages.embedded_text(1, dpi=72, words=False))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 8
    assert sum(text is not None and text.text == "page 1" for text in texts) == 4


@pytest.mark.parametrize(
    ("data", "source", "error"),
    [
        (b"", {}, MediaCorrupt),
        (b"plain text", {}, MediaTypeUnsupported),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", {}, MediaTypeUnsupported),
        (encoded(picture("x")), {"media_type": "application/pdf"}, MediaTypeMismatch),
        (text_pdf(), {}, MediaCorrupt),
        (encoded(picture("x"), "BMP")[:3000], {}, MediaCorrupt),
    ],
    ids=["empty", "text", "sound", "mislabelled", "no pages", "half a picture"],
)
def test_what_is_no_document_is_refused(data, source, error):
    with pytest.raises(error), opened(data, **source) as pages:
        drawn(pages, 1)


def test_a_password_is_asked_for_tried_and_told_apart(data_dir):
    encrypted = (data_dir / "pages" / "aes256_password.pdf").read_bytes()
    with pytest.raises(MediaEncrypted, match="needs a password"):
        opened(encrypted)
    with pytest.raises(MediaEncrypted, match="the password does not open"):
        opened(encrypted, password="a guess")
    for password in ("secret", "own"):
        with opened(encrypted, password=password) as pages:
            assert pages.embedded_text(1, dpi=72, words=False).text == "HELLO 12345"
    with opened(TEN_PAGES, password="of no use") as pages:
        assert pages.page_count == 10
