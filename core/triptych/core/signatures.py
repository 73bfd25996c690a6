"""Signatures of webhook messages, as Standard Webhooks (standardwebhooks.com, 1.0) say."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64


def secrets_of(text: str) -> list[bytes]:
    """Reads one secret, or several with blanks between while they are being changed.

    Args:
        text: `whsec_` and base64 of 24 to 64 bytes, once or more.

    Raises:
        ValueError: It is something else; the message does not show it.
    """
    found = [_secret(part) for part in text.split()]
    if not found:
        raise ValueError("there is no secret")
    return found


def signature(secret: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """Gives one signature, as it stands in the header `webhook-signature`."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()}"


def _secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not text.startswith(_PREFIX) or not _LEAST_BYTES <= len(secret) <= _MOST_BYTES:
        raise ValueError(f"a secret is {_PREFIX} and base64 of {_LEAST_BYTES} to {_MOST_BYTES} bytes")
    return secret
