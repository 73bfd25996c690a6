"""The bench of accuracy, as it is run: a service of its own hears clips, reads pages and is asked about images."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from workers.engines.test_paddle_ocr import PHOTOTEST
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


def test_pages_are_read_through_a_service_and_scored(tmp_path, data_dir, models_dir, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_MODELS_DIR", str(models_dir))
    shutil.copy(data_dir / "pages" / "phototest.tif", tmp_path / "upright.tif")
    with Image.open(tmp_path / "upright.tif") as image:
        image.rotate(180).save(tmp_path / "over.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "over.png").read_bytes()[:200])
    (tmp_path / "true.txt").write_text(PHOTOTEST)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(
        json.dumps(
            [
                {
                    "id": file,
                    "file": file,
                    "modality": "document_image",
                    "lang": "en",
                    "ground_truth": {"text_file": "true.txt"},
                }
                for file in ("upright.tif", "over.png", "broken.png")
            ]
        )
    )
    command = [sys.executable, str(BENCH), "ocr", str(manifest), "--per-item", "--min-f1", "0.6"]
    command += ["--predictions", str(tmp_path / "read.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1, "a page could not be read"
    lines = done.stdout.splitlines()
    assert lines[-1] == "F1 0.667 pages 3", done.stdout + done.stderr
    assert any(line.startswith("over.png  en  F1 1.000") and "turned by 180" in line for line in lines)
    assert any(line.startswith("broken.png failed: MEDIA_") for line in lines)
    assert json.loads((tmp_path / "read.json").read_text())["over.png"].split() == PHOTOTEST.split()


def test_questions_about_images_are_asked_through_a_service_and_scored(tmp_path, data_dir):
    said = tmp_path / "said.json"
    command = [sys.executable, str(BENCH), "vqa", str(data_dir / "easy-vqa"), "--per-item", "--predictions", str(said)]
    done = subprocess.run(
        [*command, "--min-accuracy", "0.95"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    found = re.fullmatch(r"accuracy ([01]\.\d{3}) questions 450", last)
    assert float(found[1]) >= 0.95
    assert "0-1  what is the color of the triangle?  red  right" in lines
    assert len(json.loads(said.read_text())) == 450
