"""Page sizes and opaque page tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from google.protobuf.message import Message

from triptych.core.errors import FieldInvalid
from triptych.services.fields import need

MAX_PAGE_SIZE = 500


def page_size(asked: int, default: int) -> int:
    """Gives the page size in force.

    Raises:
        FieldInvalid: A negative one was asked for.
    """
    need(asked >= 0, "page_size", "must not be negative")
    return min(asked or default, MAX_PAGE_SIZE)


def query_digest(*parts: Message | str) -> str:
    """Names a query, so that a token is not used with another one."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part.SerializeToString(deterministic=True))
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def to_token(query: str, *place: int) -> str:
    """Makes the token of a place in the answers to a query."""
    return base64.urlsafe_b64encode(json.dumps([query, *place]).encode()).decode()


def from_token(token: str, query: str, count: int) -> list[int] | None:
    """Gives the place (so many numbers) of a token; None if there is no token.

    Raises:
        FieldInvalid: It is no token, or one of another query.
    """
    if not token:
        return None
    place: list[int]
    try:
        of, *place = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError, TypeError) as error:
        raise FieldInvalid("page_token", "is none that this method gave") from error
    valid = len(place) == count and all(isinstance(number, int) and number >= 0 for number in place)
    need(valid and of == query, "page_token", "belongs to another query; use the token with the filter it came with")
    return place
