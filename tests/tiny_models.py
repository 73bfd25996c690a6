"""Tiny models with random weights, made on the spot: the real classes of transformers, but nothing to download."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

CORPUS = ["a photo of a cat and a dog", "what is in the image ?", "Invoice 2024-00123: total due is $299.99, paid"] * 20
# Like many templates it refuses some conversations.
TEMPLATE = """\
{% for message in messages %}\
{% if message['role'] == 'assistant' and loop.first %}{{ raise_exception('begin with the user') }}{% endif %}\
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}\
{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
IMAGE_TOKENS = ["<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>"] + [
    f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)
]


def tokenizer(*special_tokens, **names):
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<pad>", "<|im_start|>", "<|im_end|>", *special_tokens],
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", eos_token="<|im_end|>", extra_special_tokens=names or None
    )
    fast.chat_template = TEMPLATE
    return fast


def idefics3_words():
    """The tokenizer of `idefics3`, and of a larger one."""
    return tokenizer(
        *IMAGE_TOKENS,
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
    )


def idefics3(folder):
    """A vision-language model of two layers, saved as transformers saves it."""
    words = idefics3_words()
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 128}, max_image_size={"longest_edge": 64}, do_image_splitting=True
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
    }
    torch.manual_seed(0)
    model = Idefics3ForConditionalGeneration(
        Idefics3Config(
            text_config={"model_type": "llama", "vocab_size": len(words), "pad_token_id": 0, **TEXT},
            vision_config=vision,
            image_token_id=words.convert_tokens_to_ids("<image>"),
            scale_factor=2,
            pad_token_id=0,
        )
    )
    return _saved(folder, model, words, Idefics3Processor(images, words, image_seq_len=16, chat_template=TEMPLATE))


def llava(folder):
    """A vision-language model of another family: images of one size, each a row of patches."""
    words = tokenizer("<image>", image_token="<image>")
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_center_crop=True
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "projection_dim": 32,
    }
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            text_config={"model_type": "llama", "vocab_size": len(words), "pad_token_id": 0, **TEXT},
            vision_config={"model_type": "clip_vision_model", **vision},
            image_token_index=words.convert_tokens_to_ids("<image>"),
            pad_token_id=0,
        )
    )
    processor = LlavaProcessor(
        images,
        words,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return _saved(folder, model, words, processor)


def gemma3(folder):
    """A text model of which every other layer sees a window only."""
    words = tokenizer()
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(words),
        pad_token_id=0,
        head_dim=16,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        # Tied, random weights say the last token again and again.
        tie_word_embeddings=False,
        **TEXT,
    )
    return _saved(folder, Gemma3ForCausalLM(config), words, words)


def qwen2(folder, **options):
    """A text model of two layers, unless the options say otherwise."""
    words = tokenizer()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**{"vocab_size": len(words), "pad_token_id": 0, **TEXT, **options}))
    return _saved(folder, model, words, words)


def lora(folder, base, **options):
    """A LoRA adapter with random weights to a model of one of the functions above, saved as peft saves it."""
    from peft import LoraConfig, get_peft_model

    seeing = (base / "processor_config.json").exists()
    network = (AutoModelForImageTextToText if seeing else AutoModelForCausalLM).from_pretrained(base)
    torch.manual_seed(1)
    layers = {"target_modules": "all-linear"} | options
    # By default one of the two factors is zero, so that training begins with the base itself.
    adapted = get_peft_model(network, LoraConfig(r=4, lora_alpha=32, init_lora_weights=False, **layers))
    adapted.save_pretrained(folder)
    return folder


def _saved(folder, model, words, processor):
    # Random weights say much the same all the time; larger ones make texts differ from prompt to prompt.
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "norm" not in name and weights.ndim > 1:
                weights.mul_(12)
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
