"""`triptych models` as people and scripts call it."""

import json

import pytest
from click.testing import CliRunner
from core.wheel_index import WheelIndex, sha256

from triptych.cli.__main__ import cli
from triptych.core import package_index

DATA = b"weights"


@pytest.fixture
def index():
    index = WheelIndex()
    yield index
    index.close()


@pytest.fixture
def run(index, tmp_path, monkeypatch):
    """Runs `triptych models ...` with one small model more, `mine`."""
    index.add("mine", {"mine/model.bin": DATA})
    more = tmp_path / "more.toml"
    proof = f'size_bytes = 7, sha256 = "{sha256(DATA)}"'
    part = f'{{ package = "mine", version = "1.0", member = "mine/model.bin", {proof} }}'
    more.write_text(f"""
[models.mine]
kind = "ocr"
engine = "paddle_ocr"
source = "pypi:"
licence = "MIT"
files = [{{ path = "model.bin", {proof}, parts = [{part}] }}]
""")
    monkeypatch.setenv("TRIPTYCH_MODELS_FILE", str(more))
    monkeypatch.setenv("TRIPTYCH_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("TRIPTYCH_PACKAGE_INDEX_URL", index.url)
    monkeypatch.setenv("TRIPTYCH_OCR_MODEL", "mine")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, ["models", *arguments])


def test_a_pipe_gets_one_line_per_model(run):
    done = run("list")
    assert done.exit_code == 0
    rows = {row[0]: row for row in (line.split("\t") for line in done.stdout.splitlines())}
    assert rows["mine"][1:6] == ["ocr", "paddle_ocr", "absent", "7", "MIT"]
    assert rows["whisper-base"][3] == "absent"


def test_json_has_every_file_and_what_lies_on_disk(run):
    run("pull", "mine")
    row = next(row for row in json.loads(run("list", "--json").stdout) if row["name"] == "mine")
    assert (row["state"], row["is_default"], row["licence"]) == ("ready", True, "MIT")
    assert row["files_on_disk"] == [{"path": "model.bin", "size_bytes": 7, "sha256": sha256(DATA)}]


def test_pull_tells_on_standard_error_and_answers_on_standard_output(run, tmp_path):
    done = run("pull", "mine", "--json")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == ["mine: downloaded mine 1.0", "mine: ready"]
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["state"], row["folder"]) == ("mine", "ready", str(tmp_path / "models/mine"))


def test_an_adapter_is_pulled_and_verified_with_its_base_each_once(run, tmp_path):
    more = tmp_path / "more.toml"
    text = more.read_text().replace('"ocr"', '"vision"').replace('"paddle_ocr"', '"text"')
    adapter = text.replace("models.mine", "models.tuned").replace("licence", 'uses = ["mine"]\nlicence')
    more.write_text(text + adapter)
    done = run("pull", "tuned", "mine", "--json")
    assert done.stderr.splitlines() == [
        "mine: downloaded mine 1.0",
        "mine: ready",
        "tuned: downloaded mine 1.0",
        "tuned: ready",
    ]
    base, tuned = json.loads(done.stdout)
    assert (base["name"], base["size_bytes"], tuned["name"], tuned["size_bytes"]) == ("mine", 7, "tuned", 14)
    assert run("verify", "tuned").stdout == "mine: as it should be\ntuned: as it should be\n"
    (tmp_path / "models/mine/model.bin").unlink()
    done = run("verify", "tuned")
    assert (done.exit_code, done.stdout) == (1, "tuned: as it should be\n")
    assert done.stderr == "mine: model.bin: missing\n"


def test_an_unknown_name_is_an_error_with_a_hint(run):
    done = run("pull", "mime")
    assert done.exit_code == 4
    assert done.stderr.startswith("error: no model is called 'mime'; did you mean mine?\n")


def test_an_index_out_of_reach_exits_with_3_and_a_hint(run, monkeypatch):
    monkeypatch.setattr(package_index, "BACKOFF_S", 0.001)
    monkeypatch.setenv("TRIPTYCH_PACKAGE_INDEX_URL", "http://127.0.0.1:9/simple")
    done = run("pull", "mine")
    assert done.exit_code == 3
    assert "cannot fetch http://127.0.0.1:9/simple/mine/, tried 5 times" in done.stderr
    assert "hint: what has come so far is kept;" in done.stderr


def test_verify_names_what_is_wrong_and_exits_with_1(run, tmp_path):
    run("pull", "mine")
    assert run("verify", "mine").stdout == "mine: as it should be\n"
    (tmp_path / "models/mine/model.bin").write_bytes(b"weighty")
    done = run("verify", "mine")
    assert done.exit_code == 1
    assert done.stderr.startswith("mine: model.bin: SHA-256 is ")
    assert json.loads(run("verify", "mine", "--json").stdout)[0]["file"] == "model.bin"


def test_without_names_the_defaults_are_meant(run):
    run("pull", "mine")
    done = run("verify")
    assert done.exit_code == 1
    assert "mine: as it should be" in done.stdout
    assert "whisper-base: not here; pull it" in done.stderr
    assert "qwen2.5-coder-0.5b-instruct: not here; pull it" in done.stderr


def test_a_wrong_models_file_is_an_error(run, tmp_path):
    (tmp_path / "more.toml").write_text("[models.mine]")
    done = run("list")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'more.toml'}: models.mine.kind: ")
