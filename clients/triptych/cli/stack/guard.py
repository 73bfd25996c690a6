"""Kills what a supervisor left behind when it died without a word.

Its arguments are process groups, and it reads "+group" and "-group" lines from the supervisor; the end of the pipe is
the supervisor's end, and every group still on the list is killed. On Linux the kernel kills the children themselves
(PR_SET_PDEATHSIG); this also covers what they started, and systems without that call. It imports nothing heavy: it runs
beside every stack.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Reads until the supervisor is gone, then kills what is on the list."""
    # Whoever ends the whole session politely ends the supervisor too; this one must outlive it.
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups = {int(group) for group in sys.argv[1:]}
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
