"""Has a document opened by a guarded process, and keeps what was in it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.core.document_types import MESSAGE_TYPE, ZIP_TYPE
from triptych.core.errors import InputTooLarge, InternalError, TriptychError
from triptych.core.guarded_process import Limits, run_guarded
from triptych.v1.common_pb2 import InputSource
from triptych.workers.converters.contents import FILE, FRAMES, Contents
from triptych.workers.converters.converting import TRACE
from triptych.workers.converters.limits import WALL_PER_CPU, ConversionLimits

log = logging.getLogger("triptych.converter")

_FUNCTION = "triptych.workers.converters.converting:convert"
# Beside members it writes texts, with a place for every line.
_CONTENTS_BYTES = 64 << 20
# Those that may hold documents which hold documents.
_NESTING = frozenset({ZIP_TYPE, MESSAGE_TYPE})


@dataclass(slots=True)
class Spent:
    """What has come out of one input so far, at all depths."""

    member_count: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A document in another one, or a reason.

    Attributes:
        path: Its name in there, for people.
        source: Its bytes; None if they could not be had.
        error: Why not.
    """

    path: str
    source: InputSource | None = None
    error: TriptychError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """An opened document.

    Attributes:
        contents: What was in it.
        members: Its documents.
        frames: An image file of which the pages are a video's key frames; None: there are none.
    """

    contents: Contents
    members: Sequence[Unpacked] = ()
    frames: InputSource | None = None


async def convert(
    save: Callable[[Path], Awaitable[None]],
    keep: Callable[[bytes], Awaitable[InputSource]],
    media_type: str,
    *,
    limits: ConversionLimits,
    spent: Spent,
    depth: int,
) -> Converted:
    """Opens a document.

    Args:
        save: Writes its bytes to a file.
        keep: Makes an input of bytes that were in it.
        media_type: As its head says.
        limits: For it and what is in it.
        spent: Of the limits; what it takes is added.
        depth: 1 for a document of the request, 2 for one in it.

    Raises:
        InputTooLarge: It is in too many others, or takes too much.
        TriptychError: Why it cannot be read, or stored.
    """
    if depth > limits.max_depth and media_type in _NESTING:
        raise InputTooLarge(
            f"archives and messages in each other are opened {limits.max_depth} deep",
            limit=limits.max_depth,
            value=depth,
            setting="TRIPTYCH_MAX_UNPACK_DEPTH",
        )
    left = limits.less(member_count=spent.member_count, size_bytes=spent.size_bytes)
    with tempfile.TemporaryDirectory(prefix="triptych-") as name:
        folder = Path(name)
        (folder / "out").mkdir()
        await save(folder / "document")
        await _run(folder, media_type, left)
        contents = await asyncio.to_thread(_read, folder / "out", left)
        members = [
            Unpacked(
                path=member.path,
                source=await _kept(folder / "out" / member.file, keep, member.path) if member.file else None,
                error=member.error,
            )
            for member in contents.members
        ]
        frames = await _kept(folder / "out" / FRAMES, keep, "frames.tiff") if contents.frames_ms else None
        spent.member_count += len(members)
        spent.size_bytes += await asyncio.to_thread(_size, folder / "out")
    return Converted(contents=contents, members=members, frames=frames)


async def _run(folder: Path, media_type: str, limits: ConversionLimits) -> None:
    arguments = {
        "path": str(folder / "document"),
        "folder": str(folder / "out"),
        "media_type": media_type,
        "limits": dataclasses.asdict(limits),
    }
    guarded = Limits(
        memory_bytes=limits.max_memory_bytes,
        cpu_s=limits.max_cpu_s,
        wall_s=limits.max_cpu_s * WALL_PER_CPU,
        file_bytes=limits.max_bytes + _CONTENTS_BYTES,
    )
    try:
        await run_guarded(_FUNCTION, arguments, guarded)
    finally:
        trace = folder / "out" / TRACE
        if trace.exists():
            log.warning("a document could not be read: %s", trace.read_text("utf-8", "replace")[-4000:])


def _read(folder: Path, limits: ConversionLimits) -> Contents:
    """Reads what the process wrote; it may have been taken over, so that nothing is taken for granted."""
    try:
        return _checked(folder, limits)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
        log.exception("a process that opened a document left no sense")
        raise InternalError("internal error; the worker's log has the details") from error


def _checked(folder: Path, limits: ConversionLimits) -> Contents:
    if any(path.is_symlink() for path in folder.iterdir()):
        raise ValueError("links")
    if _size(folder) > limits.max_bytes + _CONTENTS_BYTES:
        raise ValueError("too many bytes")
    contents = Contents.read(folder)
    if len(contents.members) > limits.max_member_count:
        raise ValueError("too many members")
    return contents


async def _kept(path: Path, keep: Callable[[bytes], Awaitable[InputSource]], name: str) -> InputSource:
    source = await keep(await asyncio.to_thread(path.read_bytes))
    source.display_name = name.rpartition("/")[2][-255:]
    return source


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != FILE)
