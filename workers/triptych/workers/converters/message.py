"""Reads messages (RFC 5322, MIME): their headers and their text; what is attached are documents in them."""

from __future__ import annotations

import email
import email.policy
import mimetypes
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

from triptych.core.document_types import MESSAGE_TYPE
from triptych.core.errors import InputTooLarge, MediaTypeUnsupported
from triptych.workers.converters import web_page
from triptych.workers.converters.contents import Contents
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.converters.lines import Lines
from triptych.workers.converters.members import Members
from triptych.workers.converters.office_file import may_have_words
from triptych.workers.converters.plain_text import decoded

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
# Keys and signatures that mail programs attach; nobody asks about them.
_SIGNATURES = frozenset({
    "application/pgp-signature", "application/pgp-keys", "application/pkcs7-signature", "application/x-pkcs7-signature",
})  # fmt: skip
_MAX_PARTS = 5000


def convert(path: Path, folder: Path, limits: ConversionLimits) -> Contents:
    """Reads a message.

    Raises:
        MediaTypeUnsupported: It is encrypted.
        InputTooLarge: Too much is in it.
    """
    with path.open("rb") as file:
        message = email.message_from_binary_file(file, policy=email.policy.default)
    if message.get_content_type() in {"multipart/encrypted", "application/pkcs7-mime"}:
        raise MediaTypeUnsupported("the message is encrypted")
    lines, members = Lines(), Members(folder, limits)
    for name in _HEADERS:
        for value in message.get_all(name, []):
            lines.add(f"{name}: {value}", name)
    body = message.get_body(("plain", "html"))
    if isinstance(body, EmailMessage):
        _read(body, lines)
    for part in _attached(message, body):
        members.add(_name(part, len(members.found) + 1), [_bytes(part)])
    return Contents(
        media_type=MESSAGE_TYPE, text=lines.text, lines=lines.spans, parts=lines.parts, members=members.found
    )


def _read(body: EmailMessage, lines: Lines) -> None:
    text = decoded(_bytes(body), body.get_content_charset() or "")
    if body.get_content_subtype() == "html":
        web_page.read(text, lines, "body")
        return
    for line in text.splitlines():
        lines.add(line, "body")


def _attached(message: EmailMessage, body: object) -> Iterator[EmailMessage]:
    """Yields what is attached or shown within, but neither the text in another form nor decoration."""
    waiting: list[EmailMessage] = [message]
    looked_at = 0
    while waiting:
        part = waiting.pop()
        looked_at += 1
        if looked_at > _MAX_PARTS:
            raise InputTooLarge(f"a message of more than {_MAX_PARTS} parts", limit=_MAX_PARTS, value=looked_at)
        if part.get_content_maintype() == "multipart":
            children = part.get_payload()
            waiting += [child for child in reversed(list(children)) if isinstance(child, EmailMessage)]
        elif part is not body and part.get_content_type() not in _SIGNATURES and _is_document(part):
            yield part


def _is_document(part: EmailMessage) -> bool:
    named = part.get_filename() is not None
    if part.get_content_maintype() == "text" and not named and not part.is_attachment():
        return False  # the body in another form, or a footer of a mailing list
    if part.get_content_maintype() == "image" and not part.is_attachment():
        return may_have_words(_bytes(part))
    return True


def _name(part: EmailMessage, number: int) -> str:
    if name := part.get_filename():
        return name
    if part.get_content_type() == MESSAGE_TYPE:
        return f"message {number}.eml"
    return f"part {number}{mimetypes.guess_extension(part.get_content_type()) or ''}"


def _bytes(part: EmailMessage) -> bytes:
    if part.get_content_type() == MESSAGE_TYPE:
        inner = part.get_payload()
        if isinstance(inner, list) and inner and isinstance(inner[0], EmailMessage):
            return inner[0].as_bytes(policy=email.policy.default)
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""
