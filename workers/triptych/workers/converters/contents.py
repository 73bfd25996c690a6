"""What was in a document: its text with the places of it, the documents in it, the frames of a video."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.rpc.status_pb2 import Status

from triptych.core.errors import TriptychError, from_status

FILE, FRAMES = "contents.json", "frames.tiff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A document in another one.

    Attributes:
        path: Its name in there, for people: it has no "..", and is never used as a path here.
        file: Name of the file that its bytes are in; empty if they could not be had.
        error: Why not.
    """

    path: str
    file: str = ""
    error: TriptychError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What was in a document.

    Attributes:
        media_type: What it is, seen from inside.
        text: Lines with line feeds between; None: it has no text of its own (an archive, a video).
        lines: Span in `text` of every line.
        parts: From where on in `text` which part of the document it is: (start, name for people), ascending.
        members: Documents in it.
        frames_ms: When the key frames of a video are shown; they are the pages of the file `FRAMES`.
        heard: Whether it has sound.
    """

    media_type: str
    text: str | None = None
    lines: Sequence[tuple[int, int]] = ()
    parts: Sequence[tuple[int, str]] = ()
    members: Sequence[Member] = ()
    frames_ms: Sequence[int] = ()
    heard: bool = False

    def write(self, folder: Path) -> None:
        """Writes it to `FILE` in a folder."""
        value = {
            "media_type": self.media_type,
            "text": self.text,
            "lines": self.lines,
            "parts": self.parts,
            "members": [_member_value(member) for member in self.members],
            "frames_ms": self.frames_ms,
            "heard": self.heard,
        }
        (folder / FILE).write_text(json.dumps(value), "utf-8")

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """Reads what `write` wrote. Its writer may have been taken over by a hostile file: all is checked.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: It is not what `write` writes.
        """
        value = json.loads((folder / FILE).read_text("utf-8"))
        text = value["text"]
        if text is not None and not isinstance(text, str):
            raise TypeError("text")
        length = len(text or "")
        lines = [(int(start), int(end)) for start, end in value["lines"]]
        if any(not 0 <= start <= end <= length for start, end in lines):
            raise ValueError("lines")
        return cls(
            media_type=str(value["media_type"]),
            text=text,
            lines=lines,
            parts=[(int(start), str(name)) for start, name in value["parts"]],
            members=[_member(each) for each in value["members"]],
            frames_ms=[int(at) for at in value["frames_ms"]],
            heard=bool(value["heard"]),
        )


def _member_value(member: Member) -> dict[str, str]:
    error = member.error.to_status().SerializeToString().hex() if member.error else ""
    return {"path": member.path, "file": member.file, "error": error}


def _member(value: Any) -> Member:
    file, error = str(value["file"]), str(value["error"])
    if file and not file.isalnum():
        raise ValueError("file")
    return Member(
        path=str(value["path"])[:255],
        file=file,
        error=from_status(Status.FromString(bytes.fromhex(error))) if error else None,
    )
