"""The service that is measured: the one that is named, or one of our own with a worker, or several."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from own_stack import own_stack

from triptych.client import Client


@contextmanager
def service(
    target: str, api_key: str, kind: str, settings: Mapping[str, str] | None = None, *, beside: Sequence[str] = ()
) -> Iterator[Client]:
    """Gives a client of it. Our own takes its settings from TRIPTYCH_ variables and these, and is gone afterwards."""
    if target:
        with Client(target, api_key=api_key) as client:
            yield client
        return
    with own_stack(kind, settings, beside=beside) as stack:
        yield stack.client
