"""The documents of an answer: what people call them, and where their files are."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.core.errors import FeatureDisabled, InvalidInput
from triptych.core.media import AUDIO_TYPES, HEAD_BYTES, IMAGE_TYPES, PDF_TYPE, checked_type

if TYPE_CHECKING:
    from triptych.v1.reasoning_pb2 import ReasoningResult

# Of the kinds of media that can be shown; others are quoted only.
_PACKAGES = {
    **dict.fromkeys(IMAGE_TYPES, ("PIL",)),
    "image/heic": ("PIL", "pi_heif"),
    PDF_TYPE: ("PIL", "pypdfium2"),
    **dict.fromkeys(AUDIO_TYPES, ("PIL", "av", "numpy")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One of them.

    Attributes:
        id: Key in the result.
        name: For people: the file's name, or its path in the document that it came in.
        file: Its bytes; None if they are not at hand.
        media_type: As its first bytes say; empty if it is nothing that can be shown.
    """

    id: str
    name: str
    file: Path | None
    media_type: str


def documents_of(result: ReasoningResult, files: Mapping[str, Path]) -> dict[str, Document]:
    """Gives the documents of a result by id.

    Args:
        result: Of the question.
        files: By document id, those that were asked.
    """
    names = {key: file.name for key, file in files.items()}
    for report in result.documents:
        if report.document_id not in names:
            parent = names.get(report.parent_document_id, report.parent_document_id)
            names[report.document_id] = ": ".join(filter(None, (parent, report.path or report.document_id)))
    cited = {evidence.document_id: evidence.document_id for evidence in result.evidence if evidence.document_id}
    return {
        key: Document(id=key, name=name, file=files.get(key), media_type=media_type_of(files.get(key)))
        for key, name in (cited | names).items()
    }


def media_type_of(file: Path | None) -> str:
    """Gives a file's media type by its first bytes and its name; empty if there is no file, or none of ours."""
    if file is None or not file.is_file():
        return ""
    with file.open("rb") as opened, contextlib.suppress(InvalidInput):
        return checked_type(opened.read(HEAD_BYTES), "", file.name)
    return ""


def require(files: Iterable[Path]) -> None:
    """Checks, before any work is done, that what is in these files can be shown.

    Raises:
        FeatureDisabled: A package is missing.
    """
    needed = {name for file in files for name in _PACKAGES.get(media_type_of(file), ())}
    missing = sorted(name for name in needed if importlib.util.find_spec(name) is None)
    if missing:
        message = f"pictures of these files need {' and '.join(missing)}"
        raise FeatureDisabled(message, metadata={"hint": "pip install 'triptych[worker,speech]'"})
