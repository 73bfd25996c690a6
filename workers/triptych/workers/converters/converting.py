"""What the guarded process does that opens a document: it writes what is in it to files of a folder."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from typing import Any

from triptych.core.document_types import (
    DOCX_TYPE,
    HTML_TYPE,
    MESSAGE_TYPE,
    OFFICE_TYPES,
    PPTX_TYPE,
    TEXT_TYPE,
    XLSX_TYPE,
    ZIP_TYPE,
)
from triptych.core.errors import FeatureDisabled, MediaCorrupt, TriptychError
from triptych.core.media import VIDEO_TYPES
from triptych.workers.converters import archive
from triptych.workers.converters.limits import ConversionLimits

TRACE = "trace.txt"
# The libraries of each are imported where it is needed: the process is as small as it can be.
_CONVERTERS = {
    DOCX_TYPE: "word", PPTX_TYPE: "slides", XLSX_TYPE: "sheets", HTML_TYPE: "web_page", MESSAGE_TYPE: "message",
    TEXT_TYPE: "plain_text", ZIP_TYPE: "archive", **dict.fromkeys(VIDEO_TYPES, "video"),
}  # fmt: skip


def convert(path: str, folder: str, media_type: str, limits: dict[str, Any]) -> None:
    """Opens a document; what is in it goes to `Contents.write` and files next to that.

    Args:
        path: Of its bytes.
        folder: Where to.
        media_type: As its head says.
        limits: Fields of `ConversionLimits`.

    Raises:
        FeatureDisabled: The library that reads it is not installed.
        TriptychError: Why it cannot be read.
    """
    bounds, source = ConversionLimits(**limits), Path(path)
    try:
        if media_type == ZIP_TYPE:
            media_type = archive.office_type(source, bounds) or media_type
        converter = importlib.import_module(f"triptych.workers.converters.{_CONVERTERS[media_type]}")
        converter.convert(source, Path(folder), bounds).write(Path(folder))
    except (TriptychError, MemoryError):
        raise
    except ImportError as error:
        message = f"{media_type} is not read here: {error.name} is not installed"
        raise FeatureDisabled(message, metadata={"hint": "pip install 'triptych[documents]'"}) from error
    except OSError as error:
        if media_type not in OFFICE_TYPES or error.errno is not None:
            raise
        raise MediaCorrupt(f"it cannot be read: {error}") from error
    except Exception as error:
        # The libraries raise nearly anything on damaged files.
        (Path(folder) / TRACE).write_text(traceback.format_exc(), "utf-8")
        raise MediaCorrupt(f"it cannot be read: {type(error).__name__}: {str(error)[:200]}") from error
