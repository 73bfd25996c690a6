"""An Idefics3 (the architecture of SmolVLM) of 80 million random weights, and questions about pictures."""

import io
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from proof import toy_pages  # noqa: F401 - puts the tests' folder on the path
from tiny_models import TEMPLATE, idefics3_words
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

TEXT = {
    "model_type": "llama",
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
}
VISION = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "image_size": 224,
    "patch_size": 16,
}
SCALE_FACTOR = 2
IMAGE_TOKENS = (VISION["image_size"] // VISION["patch_size"] // SCALE_FACTOR) ** 2
SHAPES = ("circle", "rectangle", "triangle")
COLOURS = ("red", "green", "blue", "yellow", "black")


def save_model(folder: Path) -> None:
    """Writes the model, as transformers saves it. Its weights are random, but always the same."""
    words = idefics3_words()
    edge = {"longest_edge": VISION["image_size"]}
    images = Idefics3ImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    torch.manual_seed(0)
    model = Idefics3ForConditionalGeneration(
        Idefics3Config(
            text_config={"vocab_size": len(words), **TEXT},
            vision_config=VISION,
            image_token_id=words.convert_tokens_to_ids("<image>"),
            scale_factor=SCALE_FACTOR,
            pad_token_id=0,
        )
    )
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "norm" not in name and weights.ndim > 1:
                weights.mul_(3)  # else it says one token for ever, whatever it is asked
        # A random model ends by chance after a few tokens; without, lengths are those that are asked for.
        model.lm_head.weight[words.eos_token_id] = 0
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    Idefics3Processor(images, words, image_seq_len=IMAGE_TOKENS, chat_template=TEMPLATE).save_pretrained(folder)


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a picture, PNG, and how many tokens its answer may have."""

    text: str
    picture: bytes
    limit: int


def questions(number: int) -> list[Question]:
    """Gives different questions, each about a picture of its own, with answers of 4 to 64 tokens."""
    chance = random.Random(0)
    return [
        Question(
            f"{'Look closely. ' * chance.randint(0, 6)}What colour is the {chance.choice(SHAPES)}?",
            _picture(chance),
            chance.randint(4, 64),
        )
        for _ in range(number)
    ]


def _picture(chance: random.Random) -> bytes:
    picture = Image.new("RGB", (320, 240), (chance.randint(150, 255),) * 3)
    draw = ImageDraw.Draw(picture)
    for _ in range(3):
        x, y, size = chance.randint(0, 240), chance.randint(0, 160), chance.randint(30, 80)
        getattr(draw, chance.choice(("ellipse", "rectangle")))((x, y, x + size, y + size), fill=chance.choice(COLOURS))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
