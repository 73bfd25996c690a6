"""Has a worker forget what it keeps in memory when a document was purged."""

from __future__ import annotations

from collections.abc import Callable

from triptych.core.purging import purge_count
from triptych.core.store import Store


class Forgetting:
    """Looks now and then whether there was a purge.

    Args:
        store: Redis.
        forget: Drops what is kept of documents.
    """

    def __init__(self, store: Store, forget: Callable[[], None]) -> None:
        self._store = store
        self._forget = forget
        self._seen = 0

    def look(self) -> None:
        """Forgets if there was a purge since the last look.

        Raises:
            BackendUnavailable: Redis cannot be reached.
        """
        count = self._store.run(purge_count())
        if count != self._seen:
            self._forget()
            self._seen = count
