"""The repository keeps its own rules: layout, generated files, compose files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE_ROOTS = ("protos/stubs", "core", "clients", "services", "workers")


def run(*command, **env):
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_the_namespace_has_no_init_so_that_every_root_can_add_to_it(root):
    assert (ROOT / root / "triptych").is_dir()
    assert not (ROOT / root / "triptych" / "__init__.py").exists()


def test_tests_have_no_init():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_committed_stubs_are_those_of_the_contract():
    done = run("scripts/protos", "check", PYTHON=sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stubs are fresh" in done.stdout


def test_the_example_settings_are_those_of_the_code():
    roots = os.pathsep.join(str(ROOT / root) for root in SOURCE_ROOTS)
    done = run(sys.executable, "scripts/env_example.py", "check", PYTHONPATH=roots)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("files", [("compose.yaml",), ("compose.yaml", "compose.gpu.yaml")], ids=["alone", "overlaid"])
def test_the_compose_files_are_valid(files):
    if not shutil.which("docker-compose"):
        if os.environ.get("CI"):
            pytest.fail("docker-compose is missing: scripts/ci-tools installs it")
        pytest.skip("docker-compose is not installed here (scripts/ci-tools)")
    done = run("docker-compose", *[part for file in files for part in ("-f", file)], "config")
    assert done.returncode == 0, done.stderr
    assert ("capabilities" in done.stdout) == (len(files) == 2)
    for name in ("redis", "worker-transcription", "worker-ocr", "worker-vision", "worker-reasoning"):
        assert f"  {name}:" in done.stdout
