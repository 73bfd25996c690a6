"""Names images whose encoding is kept: a further question about an image neither prepares nor encodes it again."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

from triptych.workers.engines.generation import Pixels


def image_key(tenant: str, image: Pixels) -> Hashable:
    """Names an image by its tenant and all its bytes: what is kept for one tenant serves no other."""
    return tenant, hashlib.sha256(str(image.shape).encode() + image.tobytes()).digest()
