"""What is logged, and what is not."""

import os
import subprocess
import sys

ENABLED = """
import logging
from triptych.core.settings import Settings
from triptych.core.telemetry import setup_logging
setup_logging(Settings(log_level="DEBUG"))
print([logging.getLogger(name).isEnabledFor(logging.DEBUG) for name in ("triptych", "httpcore2.http11", "httpx2")])
"""


def test_what_libraries_narrate_of_requests_and_keys_is_not_logged_at_debug():
    # In a process of its own: logging belongs to all of one.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", ENABLED], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[True, False, False]"
