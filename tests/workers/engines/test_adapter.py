"""LoRA adapters over tiny models with random weights, against peft's own, unmerged."""

import importlib.util
import json

import numpy as np
import pytest
import tiny_models
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from triptych.core.catalog import Catalog
from triptych.core.errors import FeatureDisabled, ModelNotFound
from triptych.core.settings import Settings
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines import registry
from triptych.workers.engines.adapter import merged
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.image_prompts import _conversation
from triptych.workers.engines.reader import ReaderEngine
from triptych.workers.engines.torch_device import weights_bytes
from triptych.workers.engines.transformers import TransformersEngine
from triptych.workers.stations import Stations

PATIENCE_S = 60
IMAGE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    return tiny_models.idefics3(tmp_path_factory.mktemp("idefics3"))


@pytest.fixture(scope="module")
def seeing_lora(seeing, tmp_path_factory):
    return tiny_models.lora(tmp_path_factory.mktemp("seeing-lora"), seeing)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return tiny_models.qwen2(tmp_path_factory.mktemp("qwen2"))


@pytest.fixture(scope="module")
def text_lora(text, tmp_path_factory):
    return tiny_models.lora(tmp_path_factory.mktemp("text-lora"), text)


def prompt(*parts, **options):
    return Prompt(turns=(("user", parts),), **{"max_output_tokens": 24, **options})


def answers(engine, prompts):
    engine.load()
    return [result.text for result in engine.run_batch(prompts)]


@pytest.mark.parametrize("family", ["idefics3", "llava"])
def test_a_model_that_sees_says_what_peft_says_with_the_adapter_beside_it(family, tmp_path):
    base = getattr(tiny_models, family)(tmp_path / "base")
    lora = tiny_models.lora(tmp_path / "lora", base)
    prompts = [prompt(IMAGE, "what is in the image ?"), prompt("a cat", IMAGE[:40], "?"), prompt("a photo " * 20)]
    processor = AutoProcessor.from_pretrained(base)
    network = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    beside = PeftModel.from_pretrained(network, lora).eval()
    expected = []
    for one in prompts:
        inputs = processor.apply_chat_template(
            [_conversation(one)], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        [ids] = beside.generate(**inputs, max_new_tokens=24, do_sample=False)
        expected.append(processor.tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    options = {"device": "cpu", "threads": 1, "piece_tokens": 32}
    assert answers(TransformersEngine(base, ModelRef(), adapter=lora, **options), prompts) == expected
    without = answers(TransformersEngine(base, ModelRef(), **options), prompts)
    assert all(one != other for one, other in zip(without, expected, strict=True))


@pytest.mark.parametrize(
    "options", [{}, {"use_dora": True, "target_modules": ["q_proj", "down_proj"], "modules_to_save": ["lm_head"]}]
)
def test_a_text_model_says_what_peft_says_with_the_adapter_beside_it(options, text, tmp_path):
    lora = tiny_models.lora(tmp_path, text, **options)
    prompts = [prompt("a cat"), prompt("Invoice 2024-00123: total ?"), prompt("a photo of a cat and a dog " * 6)]
    given = {"device": "cpu", "threads": 1, "dtype": torch.float32}
    engine, plain = (ReaderEngine(text, ModelRef(), None, adapter=adapter, **given) for adapter in (lora, None))
    texts = answers(engine, prompts)
    network = AutoModelForCausalLM.from_pretrained(text, dtype=torch.float32)
    beside = PeftModel.from_pretrained(network, lora).eval()
    for one, found in zip(prompts, texts, strict=True):
        ids = torch.tensor([engine._token_ids(engine.read_pages([one])[0], 24)])
        [generated] = beside.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        assert found == engine._tokenizer.decode(generated[ids.shape[1] :], skip_special_tokens=True) != ""
    assert all(one != other for one, other in zip(answers(plain, prompts), texts, strict=True))


CATALOGUE = """
[models.base]
kind = "vision"
engine = "transformers"
licence = "MIT"
source = "dir:{base}"
revision = "b1"
[models.tuned]
kind = "vision"
engine = "transformers"
licence = "LicenseRef-ours"
source = "dir:{lora}"
revision = "t1"
uses = ["base"]
[models.words]
kind = "vision"
engine = "text"
licence = "MIT"
source = "dir:{text}"
[models.tuned-words]
kind = "vision"
engine = "text"
licence = "MIT"
source = "dir:{text_lora}"
uses = ["words"]
[models.tuned-reader]
kind = "vision"
engine = "reader"
licence = "MIT"
uses = ["pp-ocrv6-small", "tuned-words"]
"""


@pytest.fixture
def serving(seeing, seeing_lora, text, text_lora, tmp_path):
    """Catalogue and settings of a worker with adapters."""
    file = tmp_path / "models.toml"
    file.write_text(CATALOGUE.format(base=seeing, lora=seeing_lora, text=text, text_lora=text_lora))
    settings = Settings(_env_file=None, models_file=file, vision_model="tuned", device="cpu", engine_threads=1)
    return Catalog.load(settings), settings


def test_results_name_the_adapter_and_its_base_and_both_count_as_weights(serving, seeing, seeing_lora):
    catalog, settings = serving
    assert catalog.ready("tuned")
    on_disk = [sum(path.stat().st_size for path in folder.iterdir()) for folder in (seeing, seeing_lora)]
    assert catalog.disk_bytes("tuned") == sum(on_disk)
    stations = Stations(settings, "vision", catalog)
    try:
        with stations.lent() as loan:
            done = loan.get().submit(prompt(IMAGE, "?"), lane=1, deadline=None).result(PATIENCE_S)
            [loaded] = stations._shelf.all()
    finally:
        stations.stop()
    model = done.value.model
    assert (model.model, model.revision, model.licence) == ("tuned", "t1", "LicenseRef-ours")
    assert (model.base.model, model.base.revision, model.base.licence) == ("base", "b1", "MIT")
    assert model.engine.startswith("transformers/")
    assert not model.base.HasField("base")
    # It is in the base's weights, not beside them.
    plain = AutoModelForImageTextToText.from_pretrained(seeing, dtype=torch.float32)
    assert loaded.size_bytes == weights_bytes(plain)


def test_a_reader_may_have_an_adapted_language_model(serving):
    catalog, settings = serving
    assert [part.name for part in catalog.with_parts("tuned-reader")] == [
        "pp-ocrv6-small",
        "words",
        "tuned-words",
        "tuned-reader",
    ]
    for name in ("tuned-words", "tuned-reader"):
        engine = registry.build(name, catalog, settings)
        assert (engine._folder, engine._adapter) == (catalog.folder("words"), catalog.folder("tuned-words"))


@pytest.mark.parametrize("name", ["tuned", "tuned-words", "tuned-reader"])
def test_without_peft_an_adapter_is_refused_with_what_to_install(serving, monkeypatch, name):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else find_spec(name))
    with pytest.raises(FeatureDisabled, match=r"needs peft: pip install 'triptych\[lora\]'") as refused:
        registry.build(name, *serving)
    assert refused.value.metadata["extra"] == "lora"
    registry.build("base", *serving)


def test_an_adapter_that_names_no_base_is_told_to(serving, seeing_lora, tmp_path):
    file = tmp_path / "models.toml"
    file.write_text(file.read_text().replace('uses = ["base"]', ""))
    settings = serving[1]
    with pytest.raises(ModelNotFound, match="is a LoRA adapter: the entry of tuned has to name its base in `uses`"):
        registry.build("tuned", Catalog.load(settings), settings)


def loaded(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"num_hidden_layers": 1}, r"it has .*layers\.1\..*lora_A.* and 13 more"),
        ({"num_hidden_layers": 3}, r"it lacks .*layers\.2\..*lora_A.* and 13 more"),
        ({"intermediate_size": 96}, r".*size mismatch for .*mlp"),
    ],
)
def test_an_adapter_of_another_base_says_what_does_not_fit(text, tmp_path, options, why):
    base = tiny_models.qwen2(tmp_path / "other", **options)
    lora = tiny_models.lora(tmp_path / "lora", text, target_modules=r".*(q|k|v|o|gate|up|down)_proj")
    with pytest.raises(ModelNotFound, match=rf"lora, made for \S+, does not fit \S+other: {why}"):
        merged(loaded(base), lora)


def test_an_adapter_of_another_family_says_what_does_not_fit(text, seeing, tmp_path):
    lora = tiny_models.lora(tmp_path, seeing, target_modules=["out_proj"])
    with pytest.raises(ModelNotFound, match=r"Target modules .*out_proj.* not found"):
        merged(loaded(text), lora)


def spoilt(folder, **config):
    """Changes what the adapter's configuration says."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


def test_what_is_no_lora_adapter_is_refused_before_anything_is_changed(text, tmp_path):
    with pytest.raises(ModelNotFound, match=r"is no LoRA adapter: it has no adapter_config\.json"):
        merged(None, text)
    lora = tiny_models.lora(tmp_path, text)
    spoilt(lora, peft_type="IA3")
    with pytest.raises(FeatureDisabled, match="is no LoRA adapter, but 'IA3'"):
        merged(None, lora)
    (lora / "adapter_config.json").write_text("[1")
    with pytest.raises(ModelNotFound, match=r"adapter_config\.json cannot be read"):
        merged(None, lora)
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    with pytest.raises(ModelNotFound, match=r"it has no adapter_model\.safetensors"):
        merged(None, lora)


def test_weights_that_cannot_be_read_or_are_no_numbers_are_refused(text, tmp_path):
    lora = tiny_models.lora(tmp_path, text)
    weights = lora / "adapter_model.safetensors"
    tensors = load_file(weights)
    next(iter(tensors.values())).fill_(float("nan"))
    save_file(tensors, weights)
    with pytest.raises(ModelNotFound, match=r"does not fit .*NaNs detected"):
        merged(loaded(text), lora)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelNotFound, match=r"does not fit .*header"):
        merged(loaded(text), lora)


def test_running_out_of_memory_is_not_told_as_an_adapter_that_does_not_fit(text, text_lora, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PeftModel, "load_adapter", full)
    with pytest.raises(MemoryError):
        merged(loaded(text), text_lora)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning", "ignore:Setting `save_embedding")
@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_embeddings_that_are_the_last_layer_too_are_not_changed(tmp_path, layer):
    base = tiny_models.qwen2(tmp_path / "tied", tie_word_embeddings=True)
    lora = tiny_models.lora(tmp_path / "lora", base, target_modules=[layer, "q_proj"])
    with pytest.raises(FeatureDisabled, match="shares with the last layer"):
        merged(loaded(base), lora)
    inner = tiny_models.lora(tmp_path / "inner", base)
    merged(loaded(base), inner)
