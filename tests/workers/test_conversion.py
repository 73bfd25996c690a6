"""The real conversions: a tiny model in GGUF, and the embedded OCR models."""

import shutil

import gguf
import numpy as np
import pytest
import torch
import transformers

from triptych.core.errors import FeatureDisabled, InternalError
from triptych.workers import conversion
from triptych.workers.conversion import Recipe
from triptych.workers.engines.paddle_model import PaddleModel

Q8 = gguf.GGMLQuantizationType.Q8_0
VOCABULARY = [chr(code) for code in range(33, 127)] + ["<|im_end|>", "ab"]
SHAPES = {
    "token_embd.weight": (96, 32),
    "output.weight": (96, 32),
    "output_norm.weight": (32,),
    "blk.0.attn_norm.weight": (32,),
    "blk.0.ffn_norm.weight": (32,),
    "blk.0.attn_q.weight": (32, 32),
    "blk.0.attn_k.weight": (16, 32),
    "blk.0.attn_v.weight": (16, 32),
    "blk.0.attn_output.weight": (32, 32),
    "blk.0.ffn_gate.weight": (64, 32),
    "blk.0.ffn_up.weight": (64, 32),
    "blk.0.ffn_down.weight": (32, 64),
    "blk.0.attn_q.bias": (32,),
    "blk.0.attn_k.bias": (16,),
    "blk.0.attn_v.bias": (16,),
}


def write_tiny_gguf(path):
    """Writes a Qwen2 of one layer with random weights in 8 bits, and gives the weights."""
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("tiny")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([1] * 94 + [3, 1])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(94)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    random = np.random.default_rng(1)
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    for name, values in weights.items():
        if values.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(values, Q8), raw_dtype=Q8)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def test_a_gguf_file_becomes_a_transformers_folder_with_the_same_weights(tmp_path):
    source, made = tmp_path / "source", tmp_path / "made"
    source.mkdir()
    weights = write_tiny_gguf(source / "tiny.gguf")
    conversion.convert("gguf-bf16", source, made)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in made.iterdir()}
    assert (source / "tiny.gguf").exists()
    model = transformers.AutoModelForCausalLM.from_pretrained(made)
    assert model.dtype == torch.bfloat16
    for name, ours in {
        "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
        "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
        "lm_head.weight": "output.weight",
    }.items():
        found = model.state_dict()[name].float().numpy()
        # 8 bits of a block, then 8 bits of mantissa: two roundings of at most 1/127 and 1/256 of the largest value.
        assert np.abs(found - weights[ours]).max() < np.abs(weights[ours]).max() * (1 / 127 + 1 / 256)
    tokenizer = transformers.AutoTokenizer.from_pretrained(made)
    assert tokenizer.tokenize("abc") == ["ab", "c"]
    assert tokenizer.chat_template == "{{ messages[0]['content'] }}"
    assert tokenizer.eos_token == "<|im_end|>"


@pytest.mark.weights
def test_onnx_files_become_folders_that_paddle_reads(models_dir, tmp_path):
    embedded, source, made = models_dir / "pp-ocrv6-small", tmp_path / "source", tmp_path / "made"
    source.mkdir()
    names = {role: f"PP-OCRv6_small_{role}" for role in ("det", "rec")} | {"doc_ori": "PP-LCNet_x1_0_doc_ori"}
    for role, name in names.items():
        shutil.copyfile(embedded / role / "inference.onnx", source / f"{name}.onnx")
    conversion.convert("paddle-onnx", source, made)
    for role, name in names.items():
        text = (made / role / "inference.yml").read_text("utf-8")
        assert text == (embedded / role / "inference.yml").read_text("utf-8")
        assert f"model_name: {name}\n" in text
        assert (made / role / "inference.onnx").read_bytes() == (source / f"{name}.onnx").read_bytes()


@pytest.mark.weights
@pytest.mark.parametrize("style", ["as they are", "with blank and space"])
def test_characters_that_the_metadata_lacks_come_from_a_list(models_dir, tmp_path, style):
    embedded, source, made = models_dir / "pp-ocrv6-small", tmp_path / "source", tmp_path / "made"
    source.mkdir()
    shutil.copyfile(embedded / "det" / "inference.onnx", source / "PP-OCRv6_small_det.onnx")
    key, length = b"character", len("character")
    model = (embedded / "rec" / "inference.onnx").read_bytes()
    assert model.count(bytes([10, length]) + key) == 1
    renamed = model.replace(bytes([10, length]) + key, bytes([10, length]) + b"something")
    (source / "PP-OCRv6_small_rec.onnx").write_bytes(renamed)
    characters = list(PaddleModel.read(embedded / "rec").characters[1:-1])
    if style != "as they are":
        characters = ["blank", *characters, " "]
    (source / "keys.txt").write_text("\n".join(characters) + "\n", encoding="utf-8")
    conversion.convert("paddle-onnx", source, made)
    assert (made / "rec" / "inference.yml").read_text("utf-8") == (embedded / "rec" / "inference.yml").read_text(
        "utf-8"
    )
    (source / "keys.txt").write_text("a\nb\n")
    with pytest.raises(InternalError, match="knows 18708 characters, of which 2 are named"):
        conversion.convert("paddle-onnx", source, tmp_path / "again")


def test_a_file_that_is_no_gguf_fails_with_a_reason(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "tiny.gguf").write_bytes(b"GGUX" + bytes(100))
    with pytest.raises(InternalError, match=r"the conversion gguf-bf16 of .* failed: .*\w"):
        conversion.convert("gguf-bf16", source, tmp_path / "made")


def test_what_is_missing_is_said_before_anything_is_downloaded(monkeypatch):
    recipe = Recipe(run=shutil.copytree, extra="vision", modules=("json", "no_such_module"))
    monkeypatch.setitem(conversion.RECIPES, "new", recipe)
    with pytest.raises(FeatureDisabled, match=r"needs no_such_module: pip install 'triptych\[vision\]'"):
        conversion.require("new")
    with pytest.raises(FeatureDisabled, match="no conversion is called 'old'; known are gguf-bf16, paddle-onnx"):
        conversion.require("old")
