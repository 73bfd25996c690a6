"""The bench of accuracy, as it is run: it starts a service of its own and hears the clips through it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from workers.recordings import noise, silence, wav

pytestmark = [pytest.mark.e2e, pytest.mark.weights]
BENCH = Path(__file__).parents[2] / "bench" / "accuracy.py"
KENNEDY = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
LEOPARD = "Las arenas son blanquecinas de grano medio y tiene muy poca asistencia."


@pytest.fixture
def manifest(tmp_path, data_dir):
    def entry(file, text, **fields):
        return {"id": file, "file": file, "modality": "speech", "ground_truth": {"text": text}, **fields}

    for name in ("en-kennedy.opus", "es-leopard.opus"):
        shutil.copy(data_dir / "audio" / name, tmp_path / name)
    (tmp_path / "silence.wav").write_bytes(wav(silence(5)))
    (tmp_path / "noise.wav").write_bytes(wav(noise(5)))
    (tmp_path / "broken.wav").write_bytes(wav(silence(1))[:40])
    path = tmp_path / "manifest.json"
    path.write_text(
        json.dumps(
            [
                entry("en-kennedy.opus", KENNEDY, lang="en"),
                entry("es-leopard.opus", LEOPARD, lang="es"),
                entry("silence.wav", ""),
                entry("noise.wav", ""),
                entry("broken.wav", "not to be heard", lang="en"),
            ]
        )
    )
    return path


def test_clips_are_heard_through_a_service_and_scored(manifest, models_dir, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_MODELS_DIR", str(models_dir))

    def accuracy(*arguments):
        command = [sys.executable, str(BENCH), "asr", str(manifest), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    done = accuracy("--per-item", "--predictions", str(manifest.parent / "heard.json"))
    assert done.returncode == 1, "a clip could not be heard"
    *lines, last = done.stdout.splitlines()
    # 22 words of Kennedy and 12 of the leopard are heard, the 4 of the broken file are not.
    assert last == "WER 0.105 English 0.154 invented 0", done.stdout + done.stderr
    assert any(line.startswith("broken.wav failed: MEDIA_") for line in lines)
    assert "my fellow Americans" in json.loads((manifest.parent / "heard.json").read_text())["en-kennedy.opus"]
    good = accuracy("--only", "e", "--max-wer", "0")
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "WER 0.000 English 0.000 invented 0"), good.stdout
