"""Which models a worker serves, and how one that somebody brings along is loaded."""

import numpy as np
import pytest
import tiny_models

from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid, ModelNotFound
from triptych.workers.engines.generation import Prompt
from triptych.workers.stations import Stations

MODELS = """
[models.ours]
kind = "vision"
engine = "transformers"
licence = "LicenseRef-ours"
source = "dir:{folder}"
languages = ["en", "fr"]

[models.words]
kind = "vision"
engine = "text"
licence = "LicenseRef-ours"
source = "dir:{words}"
languages = ["de", "fr"]

[models.odd]
kind = "vision"
engine = "magic"
licence = "LicenseRef-ours"
source = "dir:{folder}"
"""


@pytest.fixture(scope="module")
def models_file(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    folder, words = tiny_models.idefics3(root / "ours"), tiny_models.qwen2(root / "words")
    file = root / "models.toml"
    file.write_text(MODELS.format(folder=folder, words=words))
    return file


@pytest.fixture
def stations(settings, models_file, tmp_path):
    changed = settings.model_copy(
        update={"models_file": models_file, "models_dir": tmp_path, "vision_model": "ours", "engine_threads": 1}
    )
    stations = Stations(changed, "vision", Catalog.load(changed))
    yield stations
    stations.stop()


@pytest.fixture
def loan(stations):
    with stations.lent() as loan:
        yield loan


def test_a_model_that_sees_pixels_is_served_from_its_folder(loan):
    station = loan.get()
    picture = np.zeros((64, 64, 3), np.uint8)
    prompt = Prompt(turns=(("user", (picture, "what is in the image ?")),), max_output_tokens=4)
    result = station.submit(prompt, lane=1, deadline=None).result(60).value
    assert result.usage.output_token_count > 0
    assert (result.model.model, result.model.licence) == ("ours", "LicenseRef-ours")
    assert result.model.engine.startswith("transformers/")
    assert loan.get("ours") is station


def test_every_model_of_the_kind_whose_weights_are_here_is_announced(stations):
    assert stations.names() == ["odd", "ours", "words"]


def test_a_second_model_is_loaded_when_it_is_wanted(loan):
    prompt = Prompt(turns=(("user", ("hello",)),), max_output_tokens=2)
    result = loan.get("words").submit(prompt, lane=1, deadline=None).result(60).value
    assert result.model.model == "words"


def test_languages_that_the_default_does_not_know_bring_a_model_that_does(stations, loan):
    assert [stations.default_for(tags) for tags in ([], ["fr"], ["en-GB"])] == ["ours"] * 3
    # "odd" does not say what it knows, and "words" was made for this.
    assert loan.get(languages=["de-AT", "fr"]) is loan.get("words")
    assert loan.get("ours", languages=["de"]) is loan.get("ours")


def test_every_loaded_engine_forgets(stations, loan, monkeypatch):
    forgot = []
    for name in ("words", "ours"):
        monkeypatch.setattr(loan.get(name).engine, "forget", lambda name=name: forgot.append(name))
    stations.forget()
    assert forgot == ["words", "ours"]


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("our", ModelNotFound, "did you mean"),
        ("reader-qwen2.5-coder-0.5b", ModelNotFound, "not on this machine"),
        ("whisper-base", FieldInvalid, "does no vision"),
        ("odd", FieldInvalid, "'magic' is none of"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_with_a_reason(loan, name, error, says):
    with pytest.raises(error, match=says):
        loan.get(name)
