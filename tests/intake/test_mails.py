"""Every message of a mailbox is a document of its own."""

import functools
import mailbox
from email.message import EmailMessage

import pytest

from triptych.core.errors import FieldInvalid
from triptych.intake.mails import split


@functools.cache
def message(number):
    mail = EmailMessage()
    mail["Subject"] = f"Invoice {number}"
    mail.set_content(f"From here on {number} is due.\n")
    mail.add_attachment(b"\x00\x01" * 50, maintype="application", subtype="pdf", filename="a.pdf")
    return mail


@pytest.mark.parametrize("kind", [mailbox.mbox, mailbox.Maildir])
def test_a_mailbox_is_split_into_its_messages_and_each_is_written_once(tmp_path, kind):
    box = kind(tmp_path / "box")
    for number in range(3):
        box.add(message(number))
    box.close()
    found = list(split(tmp_path / "box", tmp_path / "out"))
    assert len({name for name, _ in found}) == 3
    assert {path.read_bytes() for _, path in found} == {bytes(message(number)) for number in range(3)}
    before = {path: path.stat().st_mtime_ns for _, path in found}
    assert dict(split(tmp_path / "box", tmp_path / "out")) == dict(found)
    assert before == {path: path.stat().st_mtime_ns for _, path in found}


def test_a_single_message_is_one_and_other_files_are_refused(tmp_path):
    path = tmp_path / "a.eml"
    path.write_bytes(bytes(message(1)))
    [(name, copy)] = split(path, tmp_path / "out")
    assert (name, copy.name, copy.read_bytes()) == ("a.eml", "a.eml", bytes(message(1)))
    for wrong in (tmp_path / "b.txt", tmp_path / "folder"):
        wrong.mkdir() if wrong.name == "folder" else wrong.write_text("words")
        with pytest.raises(FieldInvalid):
            list(split(wrong, tmp_path / "out"))
