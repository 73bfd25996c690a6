"""Looks at each input's first bytes, so that what can never be read is refused at once."""

from __future__ import annotations

from triptych.core.blobs import BlobStore
from triptych.core.document_types import DOCUMENT_TYPES
from triptych.core.errors import FieldInvalid, InputTooLarge, MediaTypeUnsupported, TriptychError, UriNotAllowed
from triptych.core.media import AUDIO_TYPES, HEAD_BYTES, IMAGE_TYPES, PDF_TYPE, check_pixels, checked_type
from triptych.core.settings import Settings
from triptych.core.sources import inputs
from triptych.services.fields import blob_name, need, short
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.reasoning_pb2 import SourceDocument

PAGE_TYPES = IMAGE_TYPES | {PDF_TYPE}
# What a kind of job can read, and how to say it.
_READABLE = {
    "transcription": (AUDIO_TYPES, "audio or video"),
    "ocr": (PAGE_TYPES, "a PDF or an image"),
    "vision": (PAGE_TYPES, "an image or a PDF"),
    "reasoning": (PAGE_TYPES | AUDIO_TYPES | DOCUMENT_TYPES, "documents, images, audio and video"),
}


def check_inputs(spec: JobSpec, path: str, tenant: str, blobs: BlobStore, settings: Settings) -> list[str]:
    """Gives the media type of every input, in order. Reads from the blob store: blocks.

    Args:
        spec: The specification; its kind is set.
        path: Field that holds the kind's own specification.
        tenant: Whose blobs.
        blobs: Where they are.
        settings: Limits in force.

    Raises:
        FieldInvalid, UriNotAllowed, BlobNotFound, InputTooLarge, MediaTypeUnsupported, MediaTypeMismatch,
        MediaCorrupt: As their names say; metadata has the field.
    """
    kind = str(spec.WhichOneof("spec"))
    found = []
    for place, source in inputs(spec):
        field = path + place.removeprefix(kind)
        try:
            found.append(_media_type(source, field, tenant, kind, blobs, settings))
        except TriptychError as error:
            error.metadata.setdefault("field", field)
            raise
    if kind == "reasoning":
        for i, (document, media_type) in enumerate(zip(spec.reasoning.documents, found, strict=True)):
            _check_parts(document, media_type, f"{path}.documents[{i}]")
    return found


def check_document(source: InputSource, field: str, tenant: str, blobs: BlobStore, settings: Settings) -> str:
    """Gives the media type of a PDF or an image. Reads from the blob store: blocks; raises as `check_inputs`."""
    try:
        return _media_type(source, field, tenant, "ocr", blobs, settings)
    except TriptychError as error:
        error.metadata.setdefault("field", field)
        raise


def _media_type(source: InputSource, field: str, tenant: str, kind: str, blobs: BlobStore, settings: Settings) -> str:
    short(source.display_name, 255, f"{field}.display_name")
    short(source.password, 255, f"{field}.password")
    head = _head(source, field, tenant, blobs, settings)
    found = checked_type(head, source.media_type, source.display_name)
    types, words = _READABLE[kind]
    if found not in types:
        what = f"'{source.display_name}'" if source.display_name else field
        raise MediaTypeUnsupported(f"{what} is {found}, but this job reads {words}")
    check_pixels(head, settings.max_page_pixels)
    return found


def _head(source: InputSource, field: str, tenant: str, blobs: BlobStore, settings: Settings) -> bytes:
    which = source.WhichOneof("source")
    if which == "uri":
        raise UriNotAllowed(f"{field}.uri: this server reads no URIs; upload the bytes as a blob")
    if which == "blob":
        return blobs.read(tenant, blob_name(source.blob, f"{field}.blob"), 0, HEAD_BYTES)
    if which is None:
        raise FieldInvalid(field, "exactly one of blob, content and uri must be set")
    if len(source.content) > settings.max_inline_bytes:
        raise InputTooLarge(
            f"{field}.content: has {len(source.content)} bytes; at most {settings.max_inline_bytes} are taken inline, "
            "upload larger inputs as a blob",
            limit=settings.max_inline_bytes,
            value=len(source.content),
        )
    return source.content


def _check_parts(document: SourceDocument, media_type: str, path: str) -> None:
    if media_type in AUDIO_TYPES:
        need(not document.pages, f"{path}.pages", f"{media_type} has no pages")
    elif media_type in DOCUMENT_TYPES:
        need(not document.pages, f"{path}.pages", f"{media_type} is read as a whole, not by pages")
        need(not document.clips, f"{path}.clips", f"{media_type} has no times")
    else:
        need(not document.clips, f"{path}.clips", f"{media_type} has no times")
