"""Redis says nothing for a while: `bench/outage.py` in short."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

BENCH = Path(__file__).parents[2] / "bench"
# Longer than a lease.
OUTAGE_S = 12


def test_redis_stopped_under_load_costs_no_work_and_every_caller_is_told():
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(BENCH / "outage.py"), "--seconds", str(OUTAGE_S)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "held"
