"""Streams that are compressed as they are made: a file is saved without touching any."""

from __future__ import annotations

import zlib

from pikepdf import Name, Pdf, Stream


def compressed(pdf: Pdf, data: bytes, **facts: object) -> Stream:
    """Makes a stream of a file.

    Args:
        pdf: The file.
        data: What it holds.
        facts: Other entries of its dictionary, by name without the slash.
    """
    return Stream(pdf, zlib.compress(data), Filter=Name.FlateDecode, **facts)
