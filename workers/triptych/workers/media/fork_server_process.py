"""The process that forks decoders: everything that they need is imported once, and it has one thread.

Its parent, see `fork_server`, asks by JSON: "fork" (then the descriptor of the decoder's pipe comes) for a process id;
or the id of a decoder that has to end, for its exit code and the most memory that it held. Until then an id stays that
decoder's, even if it is dead.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

from triptych.core.confinement import die_with_parent
from triptych.workers.media import decoding


def main(control_descriptor: int) -> None:
    """Serves until the parent is gone; its decoders end then, too."""
    # Ctrl-C is sent to all processes of a terminal; the parent decides when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform != "darwin":  # its frameworks, of which PDFium uses some, must not be used before a fork
        decoding.warm_up()
    # What is there now is never freed: a child that does not look at it copies none of its pages.
    gc.freeze()
    decoders: set[int] = set()
    with Connection(control_descriptor) as control, suppress(EOFError, OSError):
        while True:
            asked = json.loads(control.recv_bytes())
            if asked == "fork":
                decoders.add(pid := _fork(control))
                _tell(control, [pid])
            else:
                decoders.remove(asked)
                _tell(control, _end(asked))
    for pid in decoders:
        _end(pid)


def _fork(control: Connection) -> int:
    descriptor = recv_handle(control)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    # From here on it is the decoder, which never returns.
    try:
        die_with_parent()
        control.close()
        # Closed by the end of the process, not before: how that ended is asked once it is.
        pipe = Connection(descriptor)
        if os.getppid() == parent:
            decoding.serve(pipe)
    finally:
        os._exit(1)


def _end(pid: int) -> list[int]:
    os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    return [os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit]


def _tell(control: Connection, values: list[int]) -> None:
    control.send_bytes(json.dumps(values).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
