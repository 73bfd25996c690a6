"""Whisper checkpoints made on the spot: tiny random ones, and whisper-base in the format of transformers."""

import json
import struct

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

_TYPES = [np.float32, np.int8, np.int16, np.int32, np.float16]
# Names in CTranslate2 -> names in transformers, within a layer; fused matrices are cut into equal parts.
_ATTENTION = {"linear_0": ("q_proj", "k_proj", "v_proj"), "linear_1": ("out_proj",)}
_CROSS = {"linear_0": ("q_proj",), "linear_1": ("k_proj", "v_proj"), "linear_2": ("out_proj",)}
_LAST_TIMESTAMP = 1500


def variables(file):
    """The arrays of a model.bin by name (CTranslate2's format, revision 6)."""
    data, at = file.read_bytes(), 0

    def take(layout):
        nonlocal at
        values = struct.unpack_from(f"<{layout}", data, at)
        at += struct.calcsize(f"<{layout}")
        return values

    def text():
        nonlocal at
        [size] = take("H")
        at += size
        return data[at - size : at - 1].decode()

    take("I")
    text()
    found = {}
    for _ in range(take("II")[1]):
        name = text()
        [rank] = take("B")
        shape = take(f"{rank}I")
        kind, size = take("BI")
        found[name] = np.frombuffer(data, _TYPES[kind], size // np.dtype(_TYPES[kind]).itemsize, at).reshape(shape)
        at += size
    return found


def as_transformers(source, target):
    """Writes a CTranslate2 folder (multilingual, 80 mels) as transformers would have saved it, in float32."""
    arrays = variables(source / "model.bin")
    counts = {part: sum(name.startswith(part) and name.endswith("ffn/linear_0/bias") for name in arrays)
              for part in ("encoder", "decoder")}  # fmt: skip
    embeddings = arrays["decoder/embeddings/weight"]
    size = embeddings.shape[1]
    config = WhisperConfig(
        vocab_size=len(embeddings), d_model=size,
        encoder_layers=counts["encoder"], decoder_layers=counts["decoder"],
        encoder_attention_heads=int(arrays["encoder/num_heads"]),
        decoder_attention_heads=int(arrays["decoder/num_heads"]),
        encoder_ffn_dim=4 * size, decoder_ffn_dim=4 * size,
    )  # fmt: skip
    state = {
        "model.decoder.embed_tokens.weight": embeddings,
        "proj_out.weight": embeddings,
        "model.encoder.embed_positions.weight": arrays["encoder/position_encodings/encodings"],
        "model.decoder.embed_positions.weight": arrays["decoder/position_encodings/encodings"],
    }
    for conv in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            state[f"model.encoder.{conv}.{kind}"] = arrays[f"encoder/{conv}/{kind}"]
    for part, count in counts.items():
        _norm(state, f"model.{part}.layer_norm", arrays, f"{part}/layer_norm")
        for layer in range(count):
            here, there = f"{part}/layer_{layer}", f"model.{part}.layers.{layer}"
            blocks = [("self_attention", "self_attn", "self_attn_layer_norm", _ATTENTION)]
            if part == "decoder":
                blocks.append(("attention", "encoder_attn", "encoder_attn_layer_norm", _CROSS))
            for block, attention, norm, linears in blocks:
                _norm(state, f"{there}.{norm}", arrays, f"{here}/{block}/layer_norm")
                for linear, names in linears.items():
                    for kind in ("weight", "bias"):
                        whole = arrays[f"{here}/{block}/{linear}/{kind}"]
                        for name, one in zip(names, np.split(whole, len(names)), strict=True):
                            if (name, kind) != ("k_proj", "bias"):  # Whisper's keys have none
                                state[f"{there}.{attention}.{name}.{kind}"] = one
            _norm(state, f"{there}.final_layer_norm", arrays, f"{here}/ffn/layer_norm")
            for number in (0, 1):
                for kind in ("weight", "bias"):
                    state[f"{there}.fc{number + 1}.{kind}"] = arrays[f"{here}/ffn/linear_{number}/{kind}"]
    network = WhisperForConditionalGeneration(config)
    network.load_state_dict({name: torch.from_numpy(one.astype(np.float32)) for name, one in state.items()})
    heads = json.loads((source / "config.json").read_text())["alignment_heads"]
    network.generation_config = GenerationConfig(alignment_heads=heads, is_multilingual=True)
    network.save_pretrained(target)
    _fast(source / "tokenizer.json").save_pretrained(target)
    return target


def _norm(state, name, arrays, source):
    state[f"{name}.weight"], state[f"{name}.bias"] = arrays[f"{source}/gamma"], arrays[f"{source}/beta"]


def _fast(file):
    return PreTrainedTokenizerFast(
        tokenizer_file=str(file), bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )


# Vocabulary and mels of the families of Whisper.
MULTILINGUAL, LARGE_V3, ENGLISH_ONLY = (51865, 80), (51866, 128), (51864, 80)


def tiny_transformers(family, base_tokenizer, folder):
    """A Whisper of one layer with random weights, saved as transformers saves it.

    Args:
        family: Vocabulary and mels.
        base_tokenizer: The tokenizer.json of a multilingual Whisper.
        folder: To write.
    """
    vocabulary, mels = family
    folder.mkdir(parents=True)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(_renumbered(json.loads(base_tokenizer.read_text()), vocabulary)))
    end = vocabulary - _LAST_TIMESTAMP - 108 - (vocabulary == LARGE_V3[0])
    torch.manual_seed(0)
    network = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=vocabulary, num_mel_bins=mels, d_model=16,
            encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32,
            bos_token_id=end, eos_token_id=end, pad_token_id=end, decoder_start_token_id=end + 1,
        )
    )  # fmt: skip
    languages = [token for token in json.loads(file.read_text())["added_tokens"] if len(token["content"]) in (6, 7)]
    network.generation_config = GenerationConfig(
        eos_token_id=end, decoder_start_token_id=end + 1, suppress_tokens=[], begin_suppress_tokens=[220, end],
        lang_to_id={token["content"]: token["id"] for token in languages},
    )  # fmt: skip
    network.save_pretrained(folder)
    _fast(file).save_pretrained(folder)
    return folder


def tiny_ctranslate2(family, base_tokenizer, folder):
    """The same in CTranslate2 format, by its own converter."""
    from ctranslate2.converters import TransformersConverter

    source = tiny_transformers(family, base_tokenizer, folder.with_name(f"{folder.name}-source"))
    TransformersConverter(str(source), copy_files=["tokenizer.json"]).convert(str(folder))
    return folder


def _renumbered(tokenizer, vocabulary):
    """The multilingual tokenizer with one language more, or with one word less, as English-only models have it."""
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    # Its special tokens stand among the words, too.
    words = {word: number for word, number in model["vocab"].items() if not word.startswith("<|")}
    names = [token["content"] for token in added]
    if vocabulary == LARGE_V3[0]:
        names.insert(names.index("<|translate|>"), "<|yue|>")
    if vocabulary == ENGLISH_ONLY[0]:
        last = max(words, key=words.get)
        del words[last]
        model["merges"] = [merge for merge in model["merges"] if "".join(_pair(merge)) != last]
    tokenizer["added_tokens"] = [{**added[0], "content": name, "id": len(words) + at} for at, name in enumerate(names)]
    model["vocab"] = words
    tokenizer["post_processor"] = None
    return tokenizer


def _pair(merge):
    return merge.split(" ") if isinstance(merge, str) else merge
