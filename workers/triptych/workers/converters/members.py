"""Puts the documents that are in another one into files, as long as there is room for them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from triptych.core.errors import InputTooLarge, TriptychError
from triptych.workers.converters.contents import Member
from triptych.workers.converters.limits import ConversionLimits

# What systems leave in archives and nobody means to send.
_JUNK = re.compile(r"(^|/)(__MACOSX/|\._[^/]*$|\.DS_Store$|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


class Members:
    """The documents found so far.

    Attributes:
        found: In order.

    Args:
        folder: Where files go; their names are numbers.
        limits: How many there may be, and how large.
    """

    def __init__(self, folder: Path, limits: ConversionLimits) -> None:
        self.found: list[Member] = []
        self._folder = folder
        self._limits = limits
        self._size_bytes = 0
        self._names: Counter[str] = Counter()

    def add(self, path: str, pieces: Iterable[bytes]) -> None:
        """Takes a document.

        Raises:
            InputTooLarge: There is no room for it.
        """
        self._count()
        file = f"member{len(self.found)}"
        try:
            with (self._folder / file).open("wb") as target:
                for piece in pieces:
                    self.take(len(piece))
                    target.write(piece)
        except InputTooLarge:
            raise
        except TriptychError as error:
            (self._folder / file).unlink()
            self.found.append(Member(path=self._named(path), error=error))
            return
        self.found.append(Member(path=self._named(path), file=file))

    def refuse(self, path: str, error: TriptychError) -> None:
        """Notes a document that cannot be had."""
        self._count()
        self.found.append(Member(path=self._named(path), error=error))

    def _named(self, path: str) -> str:
        """Gives the name for people; of two that are called the same the second is "a.txt (2)"."""
        name = shown(path)
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name} ({self._names[name]})"

    def take(self, size_bytes: int) -> None:
        """Counts bytes that come out.

        Raises:
            InputTooLarge: They are too many.
        """
        self._size_bytes += size_bytes
        most = self._limits.max_bytes
        if self._size_bytes > most:
            raise InputTooLarge(
                f"more than {most} bytes come out of it",
                limit=most,
                value=self._size_bytes,
                setting="TRIPTYCH_MAX_UNPACKED_BYTES",
            )

    def _count(self) -> None:
        most = self._limits.max_member_count
        if len(self.found) >= most:
            raise InputTooLarge(
                f"it holds more than {most} documents",
                limit=most,
                value=len(self.found) + 1,
                setting="TRIPTYCH_MAX_MEMBER_COUNT",
            )


def is_junk(path: str) -> bool:
    """Whether a member is only there because a system left it."""
    return _JUNK.search(path.replace("\\", "/")) is not None


def shown(path: str) -> str:
    """Gives a member's name for people, at most 255 characters: no way up or to a root, nothing that cannot be seen."""
    seen = "".join(sign for sign in path.replace("\\", "/") if unicodedata.category(sign)[0] != "C")
    steps = [step.strip() for step in seen.split("/")]
    if steps and re.fullmatch(r"[A-Za-z]:", steps[0]):
        steps = steps[1:]
    return "/".join(step for step in steps if step not in {"", ".", ".."})[-255:] or "unnamed"
