"""Which release of the suite this is."""

from __future__ import annotations

import importlib.metadata


def version() -> str:
    """Gives the version of the installed package; "0" when it runs from a bare checkout."""
    try:
        return importlib.metadata.version("triptych")
    except importlib.metadata.PackageNotFoundError:
        return "0"
