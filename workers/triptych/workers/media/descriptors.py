"""Hands open files to another process."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle


def send_descriptor(pipe: Connection, descriptor: int, pid: int) -> None:
    """Gives a descriptor to the process at the other end of a pipe; it stays ours, too.

    Raises:
        OSError: The other end is closed.
    """
    try:
        send_handle(pipe, descriptor, pid)
    finally:
        # It sends by a socket object of its own on the same pipe. While Celery shuts down, new ones have a timeout, and
        # with it the pipe would not wait any more: https://github.com/celery/celery/issues/975
        os.set_blocking(pipe.fileno(), True)
