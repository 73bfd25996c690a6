"""Opens the blob store that the settings name."""

from __future__ import annotations

from triptych.core.blobs import BlobStore
from triptych.core.directory_blobs import DirectoryBlobs
from triptych.core.redis_blobs import RedisBlobs
from triptych.core.settings import Settings


def open_blobs(settings: Settings) -> BlobStore:
    """Gives the store that the settings name."""
    if settings.blob_store == "redis":
        return RedisBlobs(settings.redis_url, settings.blob_ttl_s)
    return DirectoryBlobs(settings.blobs_path, settings.blob_ttl_s)
