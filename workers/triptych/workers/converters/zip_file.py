"""Reads ZIP files that may be hostile: what comes out of them is counted, and bombs are refused before they open."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaEncrypted, MediaTypeUnsupported

# Entries of all kinds, folders too: a list of them is read before anything else.
MAX_ENTRIES = 10_000
# Text is packed to a twentieth at best, white scans to a hundredth; the rest is bombs. Small files may be anything.
MAX_RATIO, RATIO_FROM_BYTES = 200, 16 << 20
_PIECE_BYTES = 1 << 18
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ZipFile:
    """An open archive. Names are just names here.

    Args:
        path: Of the file.
        max_bytes: That may come out of it, by what it claims.

    Raises:
        MediaCorrupt: No archive, or a damaged one.
        InputTooLarge: Too many entries, or too much in them.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise MediaCorrupt(f"the archive cannot be read: {error}") from error
        entries = self._zip.infolist()
        if len(entries) > MAX_ENTRIES:
            raise InputTooLarge(
                f"an archive of {len(entries)} entries; at most {MAX_ENTRIES} are looked at",
                limit=MAX_ENTRIES,
                value=len(entries),
            )
        size = sum(entry.file_size for entry in entries)
        packed = path.stat().st_size
        if size > max_bytes:
            raise InputTooLarge(
                f"{size} bytes would come out of the archive; at most {max_bytes} may",
                limit=max_bytes,
                value=size,
                setting="TRIPTYCH_MAX_UNPACKED_BYTES",
            )
        if size > RATIO_FROM_BYTES and size > MAX_RATIO * packed:
            raise InputTooLarge(
                f"an archive that is {size / packed:.0f} times as large unpacked", limit=MAX_RATIO, value=size / packed
            )
        self.entries = [entry for entry in entries if not entry.is_dir()]
        self.names = {entry.filename for entry in self.entries}

    def pieces(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yields the bytes of an entry.

        Raises:
            MediaEncrypted, MediaTypeUnsupported, MediaCorrupt: It has a password, another method or a link; is damaged.
        """
        if entry.flag_bits & 0x1:
            raise MediaEncrypted(
                "it has a password, which archives are not opened with", metadata={"hint": "unpack it first"}
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise MediaTypeUnsupported("it is a link to a file, not a file")
        if entry.compress_type not in _METHODS:
            raise MediaTypeUnsupported("it is packed by another method than deflate")
        try:
            with self._zip.open(entry) as file:
                while piece := file.read(_PIECE_BYTES):
                    yield piece
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
            raise MediaCorrupt(f"it cannot be unpacked: {error}") from error
