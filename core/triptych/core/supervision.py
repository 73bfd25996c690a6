"""What a process and its supervisor owe each other: a word when ready, an end when the other is gone."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from triptych.core.settings import Settings

PARENT_FD = "TRIPTYCH_PARENT_FD"
READY_FILE = "TRIPTYCH_READY_FILE"


def tell_ready(facts: Mapping[str, object]) -> None:
    """Writes facts (pid, addresses) to the file in `TRIPTYCH_READY_FILE`, all at once. Without the variable nothing."""
    if ready_file := os.environ.get(READY_FILE):
        part = Path(f"{ready_file}.part")
        part.write_text(json.dumps(facts))
        part.replace(ready_file)


def watch_parent(settings: Settings) -> None:
    """Has SIGTERM sent to this process when the pipe in `TRIPTYCH_PARENT_FD` closes: whoever held its other end died.

    A process that then does not drain in time is killed. Without the variable nothing is watched.
    """
    descriptor = os.environ.get(PARENT_FD)
    if descriptor:
        arguments = (int(descriptor), settings.drain_s + 5)
        threading.Thread(target=_watch, args=arguments, name="lifeline", daemon=True).start()


def _watch(descriptor: int, patience_s: float) -> None:
    # Nothing is ever written: the read returns when the last writer is gone.
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(patience_s)
    os.kill(os.getpid(), signal.SIGKILL)
