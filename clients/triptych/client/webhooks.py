"""Says whether a message that a webhook received is from whom it should be."""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from triptych.core.errors import FieldInvalid, Unauthenticated
from triptych.core.signatures import secrets_of, signature

_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z")


class SignatureInvalid(Unauthenticated):
    """The message is not from whoever has the secret, was changed, or is an old one sent again."""


def verify(body: bytes, headers: Mapping[str, str], secret: str, *, tolerance_s: float = 300) -> dict[str, Any]:
    """Gives the CloudEvents message that a webhook received, if it is from whoever has the secret.

    The same message may come twice: its `id` says so.

    Args:
        body: The request's body as it came, before anything was read or written anew.
        headers: Its headers; upper and lower case do not matter.
        secret: `whsec_...`; several, with blanks between, while it is being changed.
        tolerance_s: How old a message may be, and how wrong a clock.

    Raises:
        SignatureInvalid: It is not, or it is an old one that somebody sent again.
        FieldInvalid: The secret is none.
    """
    try:
        secrets = secrets_of(secret)
    except ValueError as error:
        raise FieldInvalid("secret", str(error)) from None
    found = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = found.get("webhook-id", ""), found.get("webhook-timestamp", "")
    if not message_id or not _TIMESTAMP.match(timestamp):
        raise SignatureInvalid("the headers webhook-id and webhook-timestamp are missing or wrong")
    if abs(time.time() - int(timestamp)) > tolerance_s:
        raise SignatureInvalid(f"the message is more than {tolerance_s:g} s from this machine's time")
    given = found.get("webhook-signature", "").split()
    for each in secrets:
        wanted = signature(each, message_id, timestamp, body)
        if any(hmac.compare_digest(wanted.encode(), other.encode()) for other in given):
            message: dict[str, Any] = json.loads(body)
            return message
    raise SignatureInvalid("no signature of the message was made with this secret")
