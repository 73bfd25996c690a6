"""Tiny speech models with random weights, made on the spot: the real classes of transformers, nothing to download."""

import torch
from tiny_models import tokenizer
from transformers import (
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    Speech2TextConfig,
    Speech2TextFeatureExtractor,
    Speech2TextForConditionalGeneration,
    Wav2Vec2FeatureExtractor,
)


def speech2text(folder):
    """A model that reads log-mel spectrograms of any length."""
    words = tokenizer()
    torch.manual_seed(7)
    network = Speech2TextForConditionalGeneration(
        Speech2TextConfig(
            vocab_size=len(words), d_model=32, conv_channels=32,
            encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=64, decoder_ffn_dim=64, max_target_positions=40,
            **_tokens(words),
        )
    )  # fmt: skip
    return _saved(folder, network, words, Speech2TextFeatureExtractor())


def moonshine(folder):
    """A model that reads samples."""
    words = tokenizer()
    torch.manual_seed(1)
    network = MoonshineForConditionalGeneration(
        MoonshineConfig(
            vocab_size=len(words), hidden_size=32, intermediate_size=64, max_position_embeddings=40,
            encoder_num_hidden_layers=2, decoder_num_hidden_layers=2,
            encoder_num_attention_heads=2, decoder_num_attention_heads=2,
            **_tokens(words),
        )
    )  # fmt: skip
    return _saved(folder, network, words, Wav2Vec2FeatureExtractor(do_normalize=False))


def _tokens(words):
    return {
        "pad_token_id": words.pad_token_id,
        "bos_token_id": words.convert_tokens_to_ids("<|im_start|>"),
        "eos_token_id": words.eos_token_id,
        "decoder_start_token_id": words.convert_tokens_to_ids("<|im_start|>"),
    }


def _saved(folder, network, words, extractor):
    # Random weights say much the same all the time; larger ones make texts differ from window to window.
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if "norm" not in name and weights.ndim > 1:
                weights.mul_(6)
    for part in (network, words, extractor):
        part.save_pretrained(folder)
    return folder
