"""A short run of the fault injector; `bench/README.md` has the figures of a long one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "chaos.py"
FAULTS = 20
pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(420)]


def test_whatever_is_killed_stopped_or_filled_no_job_is_lost_or_done_twice(models_dir, tmp_path):
    figures = tmp_path / "figures.json"
    command = (sys.executable, BENCH, "--faults", FAULTS, "--seed", 7, "--dir", tmp_path / "chaos", "--json", figures)
    env = os.environ | {"TRIPTYCH_MODELS_DIR": str(models_dir), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=400, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert done.stdout.splitlines()[-1] == "lost 0, duplicated 0, violations 0", said
    found = json.loads(figures.read_text())
    assert sum(found["faults"].values()) == FAULTS
    # Every kind of fault came, and every kind of job got its turn.
    assert len(found["faults"]) == 11, said
    for kind in ("ocr", "transcription", "vision", "reasoning"):
        assert found["jobs"][kind]["SUCCEEDED"], said
