"""A process that behaves as the stack expects of its own; the test's command line says how."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

mode = sys.argv[1] if len(sys.argv) > 1 else "serve"
if mode == "crash":
    sys.exit("no such device")
if mode == "crash-json":
    sys.exit(json.dumps({"level": "ERROR", "message": "cannot start: no weights"}))
if mode == "crash-once":
    marker = Path(sys.argv[2])
    if not marker.exists():
        marker.touch()
        sys.exit("first time")
if mode == "with-child":
    # It keeps no track of what it started: the stack must.
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(sys.argv[2]).write_text(str(child.pid))


def stop(number: int, _frame: object) -> None:
    if mode == "stubborn":
        return
    print(f"got {signal.Signals(number).name} at {time.monotonic()}", flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, stop)
ready = Path(os.environ["TRIPTYCH_READY_FILE"])
if mode != "never-ready":
    draft = ready.with_suffix(".draft")
    draft.write_text(json.dumps({"pid": os.getpid(), "address": sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:1"}))
    draft.replace(ready)
while True:
    signal.pause()
