"""A vision-language model and a LoRA adapter to it, pulled by hub id and loaded as a worker loads them."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tiny_models
from core.hub import COMMIT, Hub

from triptych.core.catalog import Catalog
from triptych.core.settings import Settings
from triptych.workers.engines.generation import Prompt
from triptych.workers.stations import Stations

PATIENCE_S = 60
CATALOGUE = f"""
[models.seeing]
kind = "vision"
engine = "transformers"
licence = "Apache-2.0"
source = "hf:somebody/seeing"
revision = "{COMMIT}"
files = [{{ path = "*.json" }}, {{ path = "*.jinja" }}, {{ path = "model.safetensors" }}]
[models.tuned]
kind = "vision"
engine = "transformers"
licence = "MIT"
source = "hf:us/tuned"
revision = "{COMMIT}"
uses = ["seeing"]
files = [{{ path = "adapter_config.json" }}, {{ path = "adapter_model.safetensors" }}]
"""


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "models.toml").write_text(CATALOGUE)
    return Settings(
        _env_file=None,
        models_file=tmp_path / "models.toml",
        models_dir=tmp_path / "models",
        vision_model="tuned",
        device="cpu",
        engine_threads=1,
    )


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_vision_model_and_an_adapter_come_by_hub_id_and_answer(settings, tmp_path):
    seeing = tiny_models.idefics3(tmp_path / "made")
    tuned = tiny_models.lora(tmp_path / "made-lora", seeing)
    with Hub({"somebody/seeing": files_of(seeing), "us/tuned": files_of(tuned)}) as hub:
        # Of its own process, because the address of the hub is read when its client is imported.
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "HF_ENDPOINT": hub.url,
            "TRIPTYCH_MODELS_FILE": str(settings.models_file),
            "TRIPTYCH_MODELS_DIR": str(settings.models_dir),
        }
        command = [sys.executable, "-m", "triptych.cli", "models", "pull", "tuned"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stations = Stations(settings, "vision", Catalog.load(settings))
    assert stations.names() == ["seeing", "tuned"]
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    asked = Prompt(turns=(("user", (image, "what is in the image ?")),), max_output_tokens=16)
    results = {}
    try:
        for name in stations.names():
            with stations.lent() as loan:
                results[name] = loan.get(name).submit(asked, lane=1, deadline=None).result(PATIENCE_S).value
    finally:
        stations.stop()
    assert results["tuned"].text != results["seeing"].text
    assert results["seeing"].model.revision == results["tuned"].model.base.revision == COMMIT
