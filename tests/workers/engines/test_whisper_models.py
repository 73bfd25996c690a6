"""Any CTranslate2 Whisper: tiny random ones of every family, made by its own converter."""

import json
import shutil

import ctranslate2
import numpy as np
import pytest
import whisper_checkpoints
from whisper_checkpoints import ENGLISH_ONLY, LARGE_V3, MULTILINGUAL
from workers.recordings import RATE

from triptych.core.errors import FeatureDisabled, FieldInvalid, InternalError, LanguageUnsupported, ModelNotFound
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.speech import Decoding
from triptych.workers.engines.whisper import WhisperEngine

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def made(tmp_path_factory, models_dir):
    """Gives the folder of a tiny model, made once."""
    root = tmp_path_factory.mktemp("whispers")
    tokenizer = models_dir / "whisper-base" / "tokenizer.json"

    def folder(family):
        place = root / str(family[0])
        return place if place.is_dir() else whisper_checkpoints.tiny_ctranslate2(family, tokenizer, place)

    return folder


@pytest.fixture
def opened():
    """Loads a folder; ends its process after the test."""
    engines = []

    def load(folder, **options):
        engine = WhisperEngine(folder, ModelRef(model="tiny"), **{"device": "cpu", "threads": 1, **options})
        engines.append(engine)
        engine.load()
        return engine

    yield load
    for engine in engines:
        engine.unload()


def hiss(seconds):
    return np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32) / 50


def heard(engine, language=None):
    decoding = Decoding(beam_size=1, temperature=0.0)
    windows = [engine.window(hiss(seconds), language=language, decoding=decoding) for seconds in (1, 2)]
    return windows, engine.run_batch(windows)


@pytest.mark.parametrize("family", [MULTILINGUAL, LARGE_V3], ids=["80 mels", "128 mels"])
def test_a_multilingual_model_reads_its_own_mels_and_languages(made, opened, family):
    engine = opened(made(family))
    windows, results = heard(engine)
    assert windows[0].features.shape == (family[1], 100)
    assert all(engine.language(result.language_code) for result in results)
    assert all(0 < result.language_confidence <= 1 for result in results)
    assert all(word.end_ms <= 2000 for result in results for segment in result.segments for word in segment.words)
    engine.check(Decoding(translate=True))
    if family == LARGE_V3:
        assert engine.language("yue") == "yue"
    else:
        with pytest.raises(LanguageUnsupported):
            engine.language("yue")


def test_an_english_model_hears_english_and_refuses_the_rest(made, opened):
    engine = opened(made(ENGLISH_ONLY))
    _, results = heard(engine)
    assert [result.language_code for result in results] == ["en", "en"]
    assert engine.language("en-GB") == "en"
    with pytest.raises(LanguageUnsupported):
        engine.language("de")
    with pytest.raises(FieldInvalid, match=r"config\.task: tiny is English only"):
        engine.window(hiss(1), language="en", decoding=Decoding(translate=True))


def test_a_model_that_names_no_languages_says_so_and_works_in_one_that_is_given(made, opened, tmp_path):
    folder = shutil.copytree(made(MULTILINGUAL), tmp_path / "nameless")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "lang_ids": []}))
    engine = opened(folder)
    with pytest.raises(InternalError, match="names no languages"):
        heard(engine)
    assert heard(engine, "de")[1][0].language_code == "de"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"tokenizer.json": None}, "it has no tokenizer.json"),
        ({"vocabulary.json": None}, "it has no vocabulary.json or vocabulary.txt"),
        ({"tokenizer.json": b"{}"}, "tokenizer.json cannot be read"),
        ({"model.bin": b"junk"}, "cannot be loaded as a Whisper"),
    ],
)
def test_a_folder_that_lacks_something_says_what(made, opened, tmp_path, broken, says):
    folder = shutil.copytree(made(MULTILINGUAL), tmp_path / "broken")
    for name, data in broken.items():
        (folder / name).write_bytes(data) if data else (folder / name).unlink()
    with pytest.raises(ModelNotFound, match=says):
        opened(folder)


def test_the_tokenizer_of_another_family_is_refused(made, opened, tmp_path):
    folder = shutil.copytree(made(LARGE_V3), tmp_path / "mixed")
    shutil.copy(made(MULTILINGUAL) / "tokenizer.json", folder)
    with pytest.raises(ModelNotFound, match="are of two models"):
        opened(folder)


def test_the_number_format_is_chosen_or_refused_with_those_there_are(made, opened):
    texts = [heard(opened(made(MULTILINGUAL), compute_type=name), "en")[1][0].text for name in ("float32", "auto")]
    assert texts[0], "it says something"
    with pytest.raises(FieldInvalid, match=r"speech_compute_type: cpu here has no float16; it has .*int8"):
        opened(made(MULTILINGUAL), compute_type="float16")


@pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(made, opened):
    with pytest.raises(FeatureDisabled, match="finds no GPU"):
        opened(made(MULTILINGUAL), device="cuda")


def test_unloading_ends_the_process_and_frees_what_it_took(made):
    engine = WhisperEngine(made(MULTILINGUAL), ModelRef(model="tiny"), device="cpu", threads=1)
    engine.load()
    process = engine._whisper.model._process
    assert engine.memory_bytes() > 1_000_000
    engine.unload()
    assert process.returncode is not None
    assert engine.memory_bytes() == 0
