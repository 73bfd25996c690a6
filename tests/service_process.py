"""A process of services, as an operator runs it."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys


@contextlib.contextmanager
def process(settings, tmp_path, *arguments, **variables):
    ready = tmp_path / "ready.json"
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TRIPTYCH_REDIS_URL": settings.redis_url,
        "TRIPTYCH_STATE_DIR": str(settings.state_dir), "TRIPTYCH_READY_FILE": str(ready), "TRIPTYCH_DRAIN_S": "1",
        **variables,
    }  # fmt: skip
    fd = int(variables.get("TRIPTYCH_PARENT_FD", -1))
    running = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "triptych.services", *arguments],
        env=environment, stderr=subprocess.PIPE, text=True, pass_fds=[fd] if fd >= 0 else [],
    )  # fmt: skip
    running.ready = ready
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        if not running.stderr.closed:
            running.communicate()


async def facts(running):
    while not running.ready.exists():
        assert running.poll() is None, running.stderr.read()
        await asyncio.sleep(0.02)
    return json.loads(running.ready.read_text())
