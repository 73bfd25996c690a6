"""Messages in files, mailboxes and Maildirs, each as a file of its own."""

from __future__ import annotations

import hashlib
import mailbox
import re
from collections.abc import Iterator
from pathlib import Path

from triptych.core.errors import FieldInvalid
from triptych.intake import durable

# In an mbox a line of a message that begins as the next message does has a mark before it (mboxrd).
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)


def messages(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields (name, bytes) of every message of a .eml file, an mbox or a Maildir, in order.

    Raises:
        FieldInvalid: It is none of them.
    """
    if path.is_dir():
        if not ((path / "cur").is_dir() and (path / "new").is_dir()):
            raise FieldInvalid("mail", f"{path} is no Maildir: it has no cur and new")
        maildir = mailbox.Maildir(path, create=False)
        for key in sorted(maildir.keys()):
            yield f"{path.name}-{key}.eml", maildir.get_bytes(key)
        return
    with path.open("rb") as file:
        is_mbox = file.read(5) == b"From "
    if not is_mbox:
        if path.suffix.lower() != ".eml":
            raise FieldInvalid("mail", f"{path} is no mbox, which begins with 'From ', and no .eml file")
        yield path.name, path.read_bytes()
        return
    box = mailbox.mbox(path, create=False)
    try:
        for number, key in enumerate(box.keys(), 1):
            yield f"{path.name}-{number:05d}.eml", _QUOTED_FROM.sub(rb"\1", box.get_bytes(key))
    finally:
        box.close()


def split(path: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Writes every message into a folder, if it is not there already; yields (name, path) of each."""
    for name, data in messages(path):
        target = folder / hashlib.sha256(data).hexdigest()[:16] / name
        if not target.exists():
            durable.write(target, data)
        yield name, target
