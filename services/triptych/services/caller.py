"""Who calls, and under which trace the call runs."""

from __future__ import annotations

import contextvars
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from triptych.core.errors import ApiKeyInvalid, ApiKeyMissing

# Without keys everybody is this tenant.
OPEN_TENANT = "default"
# W3C trace context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The caller of the RPC that runs in this context."""

    tenant: str
    trace_id: str


# A ServicerContext takes no attributes, so the caller travels beside it.
CALLER: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")


class Keys:
    """Knows which key belongs to which tenant.

    Args:
        tenants: Key -> tenant; empty: nobody is asked for a key.
    """

    def __init__(self, tenants: Mapping[str, str]) -> None:
        # Looking up digests instead of keys tells nothing about the keys by its timing.
        self._tenants = {_digest(key): tenant for key, tenant in tenants.items()}

    def tenant(self, metadata: Mapping[str, str]) -> str:
        """Gives the tenant whose key the metadata carries.

        Raises:
            ApiKeyMissing: There is neither `authorization` nor `x-api-key`.
            ApiKeyInvalid: Nobody has that key.
        """
        if not self._tenants:
            return OPEN_TENANT
        authorization = metadata.get("authorization")
        if authorization is not None:
            scheme, _, key = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise ApiKeyInvalid("authorization must be 'Bearer <API key>'")
        elif (key := metadata.get("x-api-key", "")) == "":
            raise ApiKeyMissing("send an API key as 'authorization: Bearer <key>' or as 'x-api-key: <key>'")
        tenant = self._tenants.get(_digest(key.strip()))
        if tenant is None:
            raise ApiKeyInvalid("this API key is unknown, revoked or expired")
        return tenant


def trace_id(metadata: Mapping[str, str]) -> str:
    """Gives the trace id (32 hex) of `traceparent`, or a new one."""
    match = _TRACEPARENT.match(metadata.get("traceparent", ""))
    return match.group(1) if match and int(match.group(1), 16) else secrets.token_hex(16)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
