"""A file is taken when it is whole, and once."""

import os

import pytest

from triptych.intake.settling import Settling


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def looks(tmp_path, clock):
    """Looks after so many seconds; gives names."""

    def make(**options):
        settling = Settling(tmp_path, **{"settle_s": 2, "clock": clock} | options)

        def look(after_s=0):
            clock.now_s += after_s
            return [str(path.relative_to(tmp_path)) for path in settling.look()]

        look.settling = settling
        return look

    return make


def test_a_file_that_grows_or_is_written_anew_is_waited_for(looks, tmp_path):
    look, path = looks(), tmp_path / "a"
    path.write_bytes(b"1")
    # However old it says it is: a copy keeps the time of what was copied.
    os.utime(path, (1, 1))
    assert look() == []
    assert look.settling.pause_s() == 2
    path.write_bytes(b"12")
    os.utime(path, (1, 1))
    assert look(1.9) == []
    os.utime(path, (2, 2))
    assert look(1.9) == []
    assert look(1.9) == []
    assert look(0.2) == ["a"]
    assert look(10) == []
    assert look.settling.pause_s() is None


def test_a_name_that_comes_again_with_other_bytes_is_another_file(looks, tmp_path):
    look = looks(settle_s=0)
    (tmp_path / "a").write_bytes(b"1")
    assert look() == ["a"]
    (tmp_path / "a").write_bytes(b"12")
    assert look() == ["a"]
    (tmp_path / "a").unlink()
    assert look() == []
    (tmp_path / "a").write_bytes(b"12")
    assert look() == ["a"]
    # Away and back before anybody looked.
    (tmp_path / "a").rename(tmp_path / ".a")
    (tmp_path / ".a").rename(tmp_path / "a")
    assert look() == ["a"]


def test_what_is_no_document_yet_is_left_alone(looks, tmp_path):
    look = looks(settle_s=0, recursive=True, left_out=[tmp_path / "done"])
    for name in (".hidden", "~$a.docx", "a.part", "a.CRDOWNLOAD", "a~", "b.tmp"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    for name in ("done", "sub"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b").write_bytes(b"1")
    (tmp_path / "elsewhere").symlink_to("/etc")
    assert look() == ["sub/b"]
    (tmp_path / "empty").write_bytes(b"1")
    assert look() == ["empty"]


def test_what_is_put_back_comes_again_ever_later(looks, tmp_path):
    look = looks()
    (tmp_path / "a").write_bytes(b"1")
    look()
    for wait_s in (2, 2, 4, 8):
        assert look(wait_s - 0.1) == []
        assert look(0.2) == ["a"]
        look.settling.put_back([tmp_path / "a"])
    assert look.settling.oldest_s() == pytest.approx(16.4)


def test_a_folder_that_is_gone_is_an_error_and_one_in_it_is_not(looks, tmp_path):
    look = looks(recursive=True)
    tmp_path.rmdir()
    with pytest.raises(FileNotFoundError):
        look()
