"""The embedded models and the operator's file, and what a wrong file is told."""

import pytest
from core.wheel_index import entry, part

from triptych.core import manifest
from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid, ModelNotFound
from triptych.core.manifest import FileDigest, Manifest
from triptych.core.settings import Settings
from triptych.v1.job_pb2 import JobKind

DIGEST = "0" * 64
GOOD = f"""
[models.mine]
kind = "ocr"
engine = "paddle_ocr"
source = "pypi:"
licence = "MIT"
[[models.mine.files]]
path = "det/inference.onnx"
size_bytes = 4
sha256 = "{DIGEST}"
parts = [{{ package = "mine", version = "1.0", member = "mine/a.onnx", size_bytes = 4, sha256 = "{DIGEST}" }}]
"""


def load(tmp_path, text=None):
    file = None
    if text is not None:
        file = tmp_path / "more.toml"
        file.write_text(text)
    return Catalog.load(Settings(_env_file=None, models_dir=tmp_path / "models", models_file=file))


def test_the_embedded_models_are_complete(tmp_path):
    catalog = load(tmp_path)
    names = [found.name for found in catalog.entries]
    assert names == sorted(names)
    assert {"whisper-base", "pp-ocrv6-small", "qwen2.5-coder-0.5b-instruct", "smollm2-135m-instruct"} <= set(names)
    for found in catalog.entries:
        assert found.licence
        assert found.revision not in {"", "unpinned"}
        assert found.uses or all(file.sha256 and file.size_bytes and file.parts for file in found.files)
    defaults = Settings(_env_file=None)
    assert catalog.get(defaults.speech_model).kind == JobKind.JOB_KIND_TRANSCRIPTION
    assert catalog.get(defaults.ocr_model).kind == JobKind.JOB_KIND_OCR
    assert catalog.get(defaults.vision_model).kind == JobKind.JOB_KIND_VISION


def test_models_are_found_by_kind(tmp_path):
    found = load(tmp_path).for_kind(JobKind.JOB_KIND_OCR)
    assert [model.name for model in found] == ["picodet-cdla", "pp-ocrv6-small", "slanet-plus"]


def test_models_are_found_by_the_languages_that_they_say_they_know(tmp_path):
    catalog = load(tmp_path, GOOD.replace('licence = "MIT"', 'licence = "MIT"\nlanguages = ["ru", "en"]'))
    assert catalog.get("mine").unknown(["ru-RU", "EN", "de", "zh-Hant"]) == ["de", "zh-Hant"]
    assert catalog.get("whisper-base").unknown(["tlh"]) == []
    assert catalog.knowing(JobKind.JOB_KIND_OCR, ["ru"]) == ("mine",)
    assert catalog.knowing(JobKind.JOB_KIND_OCR, ["en"]) == ("mine", "pp-ocrv6-small")
    assert catalog.knowing(JobKind.JOB_KIND_OCR, ["ru", "zh"]) == ()


def test_a_reader_brings_its_parts_and_its_revision_is_theirs(tmp_path):
    catalog = load(tmp_path)
    parts = catalog.with_parts("reader-qwen2.5-coder-0.5b")
    assert [part.engine for part in parts] == ["paddle_ocr", "text", "reader"]
    other = load(tmp_path, GOOD.replace("models.mine", 'models."pp-ocrv6-small"'))
    reader = "reader-qwen2.5-coder-0.5b"
    assert other.get(reader).revision != catalog.get(reader).revision


def test_a_reader_with_a_part_that_is_unpinned_is_unpinned_too(tmp_path):
    here = '[models."pp-ocrv6-small"]\nkind = "ocr"\nengine = "paddle_ocr"\nlicence = "MIT"\nsource = "dir:/srv/ours"\n'
    assert load(tmp_path, here).get("reader-qwen2.5-coder-0.5b").revision == "unpinned"


def test_an_unknown_name_gets_the_nearest_ones(tmp_path):
    with pytest.raises(ModelNotFound, match=r"'wisper-bas'; did you mean whisper-base\?"):
        load(tmp_path).get("wisper-bas")
    with pytest.raises(ModelNotFound, match=r"known are campplus-zh-en, picodet-cdla, pp-ocrv6-small, "):
        load(tmp_path).get("zzz")


def test_a_result_says_which_weights_made_it(tmp_path):
    catalog = load(tmp_path)
    ref = catalog.ref("whisper-base", "faster-whisper/1.2.1")
    assert (ref.model, ref.engine) == ("whisper-base", "faster-whisper/1.2.1")
    assert ref.revision == catalog.get("whisper-base").revision


def test_the_operators_file_adds_models_and_replaces_embedded_ones(tmp_path):
    catalog = load(tmp_path, GOOD + GOOD.replace("models.mine", 'models."whisper-base"'))
    assert catalog.get("mine").kind == JobKind.JOB_KIND_OCR
    assert catalog.get("mine").files[0].parts[0].member == "mine/a.onnx"
    assert catalog.get("whisper-base").engine == "paddle_ocr"


HUB = """
[models.mine]
kind = "transcription"
engine = "whisper"
licence = "MIT"
source = "hf:OWNER/NAME"
revision = "REVISION"
files = [{ path = "*.bin" }]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models", r"more\.toml: is not TOML"),
        ("[model.mine]", r"more\.toml: holds tables"),
        ('[models."../mine"]', r"models\.\.\./mine: a name has"),
        ("models.mine = 1", r"models\.mine: has to be a table"),
        (GOOD.replace('"ocr"', '"oct"'), r"models\.mine\.kind: .*one of transcription, ocr, vision"),
        (GOOD.replace("licence", "license"), r"models\.mine\.(licence|license): "),
        (GOOD.replace("det/inf", "../inf"), r"models\.mine\.files\.0\.path: .*inside the folder"),
        (GOOD.replace("det/inf", "/inf"), r"models\.mine\.files\.0\.path: .*inside the folder"),
        (GOOD.replace("mine/a", "../../a"), r"models\.mine\.files\.0\.parts\.0\.member: .*inside the folder"),
        (GOOD.replace(DIGEST, "12"), r"models\.mine\.files\.0\.sha256: "),
        (GOOD.replace("size_bytes = 4\n", "size_bytes = 5\n"), r"files\.0\.size_bytes: is not the sum of its parts"),
        (GOOD.replace('source = "pypi:"', ""), r"models\.mine\.source: is needed"),
        (GOOD.replace('"pypi:"', '"ftp:x"'), r"models\.mine\.source: has to begin with pypi:, hf: or dir:"),
        (HUB, r"models\.mine\.revision: has to be a full commit"),
        (HUB.replace("OWNER/", "").replace("REVISION", "0" * 40), r"models\.mine\.source: has to be hf:OWNER/NAME"),
    ],
)
def test_a_wrong_file_is_told_where_it_is_wrong(tmp_path, text, message):
    with pytest.raises(FieldInvalid, match=message):
        load(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FieldInvalid, match=r"models_file: .*none\.toml cannot be read"):
        Catalog.load(Settings(_env_file=None, models_file=tmp_path / "none.toml"))


def test_a_hub_model_may_name_its_files_by_pattern(tmp_path):
    found = load(tmp_path, HUB.replace("REVISION", "a" * 40)).get("mine")
    assert (found.revision, found.files[0].path, found.files[0].sha256) == ("a" * 40, "*.bin", None)


def test_a_model_is_ready_when_its_files_have_their_sizes(tmp_path):
    catalog = Catalog([entry("ear", {"model.bin": ([part("ear", "model.bin", b"1234")], b"1234")})], tmp_path)
    folder = catalog.folder("ear")
    assert not catalog.ready("ear")
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"1234")
    assert not catalog.ready("ear")  # nobody says that it is whole
    files = (FileDigest(path="model.bin", size_bytes=4, sha256=DIGEST),)
    noted = Manifest(name="ear", revision="one", licence="MIT", source="pypi:", files=files, sources=files)
    noted.write(folder)
    assert manifest.read(folder) == noted
    assert catalog.ready("ear")
    (folder / "model.bin").write_bytes(b"123")
    assert not catalog.ready("ear")


ADAPTER = """
[models.base]
kind = "vision"
engine = "text"
licence = "MIT"
source = "dir:/srv/base"
revision = "b1"
[models.tuned]
kind = "vision"
engine = "text"
licence = "LicenseRef-ours"
source = "dir:/srv/tuned"
revision = "t1"
uses = ["base"]
[models.reader]
kind = "vision"
engine = "reader"
licence = "MIT"
uses = ["pp-ocrv6-small", "tuned"]
"""


def test_an_adapter_keeps_its_own_revision_and_results_name_its_base(tmp_path):
    catalog = load(tmp_path, ADAPTER)
    ref = catalog.ref("tuned", "transformers/5")
    assert (ref.model, ref.revision, ref.licence) == ("tuned", "t1", "LicenseRef-ours")
    assert (ref.base.model, ref.base.revision, ref.base.licence) == ("base", "b1", "MIT")
    assert not catalog.ref("base", "transformers/5").HasField("base")
    unpinned = load(tmp_path, ADAPTER.replace('revision = "t1"\n', ""))
    assert unpinned.get("tuned").revision == "unpinned"


def test_a_reader_over_an_adapter_has_another_revision_with_another_base(tmp_path):
    catalog = load(tmp_path, ADAPTER)
    assert [part.name for part in catalog.with_parts("reader")] == ["pp-ocrv6-small", "base", "tuned", "reader"]
    assert [part.name for part in catalog.with_parts("tuned", "reader", "base")] == [
        "base",
        "tuned",
        "pp-ocrv6-small",
        "reader",
    ]
    other = load(tmp_path, ADAPTER.replace('"b1"', '"b2"'))
    assert other.get("reader").revision != catalog.get("reader").revision
    unpinned = load(tmp_path, ADAPTER.replace('revision = "b1"\n', ""))
    assert unpinned.get("reader").revision == "unpinned"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('uses = ["base"]', 'uses = ["nobody"]', "tuned.uses: 'nobody' is no model with weights of its own"),
        ('"pp-ocrv6-small", "tuned"', '"nobody"', "reader.uses: 'nobody' is no model with weights of its own"),
        ('uses = ["base"]', 'uses = ["base", "reader"]', "tuned.uses: .*means a LoRA adapter: one model, engine"),
        ('uses = ["base"]', 'uses = ["reader"]', "tuned.uses: 'reader' is no model with weights of its own"),
        ('uses = ["base"]', 'uses = ["tuned"]', "tuned.uses: 'tuned' is no base of this adapter: .* itself"),
        ('uses = ["base"]', 'uses = ["whisper-base"]', "tuned.uses: 'whisper-base' is no base .* engine 'whisper'"),
        ('dir:/srv/base"', 'dir:/srv/base"\nuses = ["tuned"]', "base.uses: 'tuned' is no base .* an adapter itself"),
        ('engine = "reader"', 'source = "dir:/srv"\nengine = "reader"', "reader.uses: .*means a LoRA adapter"),
    ],
)
def test_a_wrong_entry_of_an_adapter_is_told_what_is_wrong(tmp_path, old, new, message):
    with pytest.raises(FieldInvalid, match=message):
        load(tmp_path, ADAPTER.replace(old, new))


REMOTE = """
[models.far]
kind = "vision"
engine = "remote"
licence = "LicenseRef-far"
[models.far.remote]
base_url = "https://api.example.com:8443/v1/"
model = "far-1"
input_price = 2.5
output_price = 10.0
"""


def test_a_model_outside_is_always_here_and_never_pinned(tmp_path):
    catalog = load(tmp_path, REMOTE)
    far = catalog.get("far")
    assert catalog.ready("far")
    assert (far.revision, far.remote.host, far.remote.base_url) == (
        "unpinned",
        "api.example.com:8443",
        "https://api.example.com:8443/v1",
    )
    assert (far.remote.cost_micros(1, 0), far.remote.cost_micros(1000, 100)) == (3, 3500)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('engine = "remote"', 'engine = "reader"', "models.far.remote"),
        ('kind = "vision"', 'kind = "ocr"', "models.far.kind"),
        ("licence =", 'revision = "1"\nlicence =', "models.far.revision"),
        ("licence =", 'source = "dir:/srv"\nlicence =', "models.far.source"),
        ("https://api", "ftp://api", "models.far.remote.base_url"),
        ("https://api", "https://me:pw@api", "models.far.remote.base_url"),
        ("input_price = 2.5", "input_price = -1", "models.far.remote.input_price"),
        ("input_price", "price", "models.far.remote.price"),
        ("input_price = 2.5", 'api_key_env = "A"\napi_key_file = "B"', "models.far.remote.api_key_file"),
    ],
)
def test_a_wrong_entry_of_a_model_outside_is_told_what_is_wrong(tmp_path, old, new, field):
    with pytest.raises(FieldInvalid) as wrong:
        load(tmp_path, REMOTE.replace(old, new))
    assert field in wrong.value.metadata["field"]


def test_a_key_is_read_where_the_catalogue_says(tmp_path, monkeypatch):
    monkeypatch.setenv("FAR_KEY", " from-env ")
    (tmp_path / "key").write_text("from-file\n")
    for place, key in (('api_key_env = "FAR_KEY"', "from-env"), (f'api_key_file = "{tmp_path}/key"', "from-file")):
        assert load(tmp_path, REMOTE + place).get("far").remote.api_key() == key
    assert load(tmp_path, REMOTE).get("far").remote.api_key() == ""
    with pytest.raises(FieldInvalid, match="cannot be read"):
        load(tmp_path, f'{REMOTE}api_key_file = "{tmp_path}/none"').get("far").remote.api_key()
