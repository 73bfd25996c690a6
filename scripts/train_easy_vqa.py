#!/usr/bin/env python
"""Trains the vision-language model that the tests ask: Idefics3 (SmolVLM's architecture), small, on easy-VQA.

    PYTHONPATH=core:protos/stubs:bench python scripts/train_easy_vqa.py OUT [--steps 2000] [--threads 1]

OUT becomes a folder as transformers saves one, in float16. Beside it, OUT.checkpoint is written every two minutes; a
run that is broken off goes on there. The last line is the accuracy on the questions of the test split, on which nothing
is trained, through the processor and `generate` as anybody uses them: `accuracy 0.996 questions 9673`.

What makes it learn in minutes on a CPU:

* An image is encoded once for all its questions: they stand in one row, each sees the image and itself and begins at
  the same position, so that each is computed exactly as if it were asked alone.
* Images are moved and mirrored, which changes no answer: the background has one colour.
* Images whose colour and shape follow from their own questions are also described. A sentence tells more than a yes.
* It learns to see first: in the first steps the image encoder alone learns to name colour and shape, through a layer
  that is thrown away afterwards. By answers alone it learns colours at once and shapes not at all for a long time.

So it also knows two wishes beside the questions: `Describe the image.` and, behind a question, `Answer in JSON.`; both
at once are `Describe the image in JSON.`
"""

import argparse
import io
import json
import math
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy_run import easy_vqa
from accuracy_run.easy_vqa import Question, Questions
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

COLORS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
SHAPES = ("circle", "rectangle", "triangle")
PIXELS, PATCH, SCALE = 64, 8, 2
IMAGE_TOKENS = (PIXELS // PATCH // SCALE) ** 2
CONTEXT_TOKENS = 1024
# Every role is one token: prompts are short.
TEMPLATE = """\
{% for message in messages %}<|{{ message['role'] }}|>{% if message['content'] is string %}{{ message['content'] }}\
{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}\
{% endif %}{% endfor %}{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""
PAD, END = "<|pad|>", "<|end|>"
SPECIAL = [PAD, END, "<|system|>", "<|user|>", "<|assistant|>", "<fake_token_around_image>", "<image>", "<global-img>"]
IMAGES_PER_STEP, QUESTIONS_PER_IMAGE = 32, 6
LEARNING_RATE, WARM_UP_STEPS = 1.5e-3, 100
SEEING_SHARE = 0.4
"""Of the steps: those in which the image encoder learns alone."""
CHECKPOINT_EVERY_S = 120
UNKNOWN = -100
"""Label of what is not learnt."""
DATA = Path("~/.cache/triptych/easy_vqa-1.0-py3-none-any.whl").expanduser()


def processor_of(texts: Sequence[str]) -> Any:
    """Makes a processor that knows every word of the texts, and spells all others byte by byte."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # Far more than the words need: all of them become whole.
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=2048, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False),
    )
    words = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        model_max_length=CONTEXT_TOKENS,
        extra_special_tokens={
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": END,
        },
    )
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": PIXELS}, max_image_size={"longest_edge": PIXELS}, do_image_splitting=False
    )
    return Idefics3Processor(images, words, image_seq_len=IMAGE_TOKENS, chat_template=TEMPLATE)


def network_of(processor: Any) -> Any:
    """Makes the network, of 1.2 million random weights."""
    words = processor.tokenizer
    text = {
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT_TOKENS,
        "vocab_size": len(words),
        "initializer_range": 0.05,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
    }
    vision = {
        "hidden_size": 96,
        "intermediate_size": 288,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": PIXELS,
        "patch_size": PATCH,
        "initializer_range": 0.05,
    }
    network = Idefics3ForConditionalGeneration(
        Idefics3Config(
            text_config=text,
            vision_config=vision,
            image_token_id=words.convert_tokens_to_ids("<image>"),
            scale_factor=SCALE,
            pad_token_id=words.pad_token_id,
            tie_word_embeddings=True,
        )
    )
    network.generation_config = GenerationConfig(eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id)
    return network


def named_in(questions: Sequence[Question], words: Sequence[str]) -> str:
    """Gives which of the words is in the image, as its own questions and answers tell; empty: they do not."""
    for question in questions:
        if question.answer in words:
            return question.answer
        named = next((word for word in words if re.search(rf"\b{word}\b", question.text)), "")
        asks_presence = question.answer in {"yes", "no"}
        denied = bool(re.search(r"\b(no|not)\b", question.text))
        if named and (not asks_presence or (question.answer == "yes") != denied):
            return named
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An image as the network takes it, and what can be asked about it.

    Attributes:
        pixels: Of shape (3, 64, 64).
        box: Rows and columns that the shape takes: top, bottom, left, right.
        color: Which of the colours it has; UNKNOWN: no question tells.
        shape: Likewise.
        turns: Pairs of what is asked and what is right.
        descriptions: Likewise; none if colour or shape are not known.
    """

    pixels: torch.Tensor
    color: int
    shape: int
    box: tuple[int, int, int, int]
    turns: Sequence[tuple[str, str]]
    descriptions: Sequence[tuple[str, str]]

    def moved(self, chance: random.Random) -> torch.Tensor:
        """Gives the image with its shape elsewhere, perhaps mirrored."""
        top, bottom, left, right = self.box
        shape = self.pixels[:, top:bottom, left:right]
        # A corner that the shape does not touch has the background's colour.
        image = _background(self.pixels).expand(3, PIXELS, PIXELS).clone()
        row, column = chance.randint(0, PIXELS - bottom + top), chance.randint(0, PIXELS - right + left)
        image[:, row : row + bottom - top, column : column + right - left] = (
            shape.flip(2) if chance.random() < 0.5 else shape
        )
        return image

    def asked(self, chance: random.Random) -> list[tuple[str, str]]:
        """Chooses what is asked this time, in several spellings."""
        chosen = chance.sample(self.turns, min(QUESTIONS_PER_IMAGE, len(self.turns)))
        turns = [(text[0].upper() + text[1:] if chance.random() < 0.5 else text, answer) for text, answer in chosen]
        if chance.random() < 0.5:
            text, answer = turns[0]
            turns[0] = as_json(text), json.dumps({"answer": answer})
        return turns + [one for one in self.descriptions if chance.random() < 0.5]


def as_json(question: str) -> str:
    """Asks for the answer in JSON."""
    return f"{question} Answer in JSON."


def scenes_of(data: Questions, processor: Any) -> list[Scene]:
    """Prepares every image once, by the processor that will prepare it later."""
    by_image: dict[int, list[Question]] = defaultdict(list)
    for question in data.questions:
        by_image[question.image].append(question)
    scenes = []
    for number, questions in sorted(by_image.items()):
        image = Image.open(io.BytesIO(data.images[number])).convert("RGB")
        pixels = processor.image_processor([[image]], return_tensors="pt")["pixel_values"][0, 0]
        differs = (pixels != _background(pixels)).any(dim=0)
        rows, columns = differs.any(dim=1).nonzero()[:, 0], differs.any(dim=0).nonzero()[:, 0]
        color, shape = named_in(questions, COLORS), named_in(questions, SHAPES)
        descriptions = [
            ("Describe the image.", f"The image contains a {color} {shape}."),
            ("Describe the image in JSON.", json.dumps({"color": color, "shape": shape})),
        ]
        scenes.append(
            Scene(
                pixels=pixels,
                box=(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1),
                color=COLORS.index(color) if color else UNKNOWN,
                shape=SHAPES.index(shape) if shape else UNKNOWN,
                turns=[(question.text, question.answer) for question in questions],
                descriptions=descriptions if color and shape else (),
            )
        )
    return scenes


def _background(pixels: torch.Tensor) -> torch.Tensor:
    """Gives the colour of at least two corners, of shape (3, 1, 1)."""
    corners = [pixels[:, row, column] for row in (0, -1) for column in (0, -1)]
    return max(corners, key=lambda corner: sum(bool((corner == other).all()) for other in corners))[:, None, None]


class Batches:
    """Makes batches: a row per image, which holds the image and its questions side by side."""

    def __init__(self, processor: Any) -> None:
        self._words = processor.tokenizer
        image = Image.new("RGB", (PIXELS, PIXELS))
        asked = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "?"}]}]
        whole = processor.apply_chat_template([asked], tokenize=True, add_generation_prompt=True, return_dict=True)
        ids = list(whole["input_ids"][0])
        # What stands before a question, and between it and its answer, as the chat template has it.
        place = ids.index(self._words.convert_tokens_to_ids("?"))
        self._before, self._between = ids[:place], ids[place + 1 :]
        self._known: dict[str, list[int]] = {}

    def batch(self, images: Sequence[torch.Tensor], asked: Sequence[Sequence[tuple[str, str]]]) -> dict[str, Any]:
        """Gives what the network takes, and `labels`: what comes after each token; UNKNOWN: that is not learnt."""
        rows = [self._row(turns) for turns in asked]
        width = max(len(row[0]) for row in rows)
        # Columns: token, label, position, and to which question (1, 2, ...) or to the image (0) it belongs.
        filled = np.array(
            [
                [[*row, *[fill] * (width - len(row))] for row, fill in zip(each, (0, UNKNOWN, 0, -1), strict=True)]
                for each in rows
            ]
        )
        ids, labels, positions, owner = torch.from_numpy(filled).unbind(1)
        own = (owner[:, :, None] == owner[:, None, :]) | (owner[:, None, :] == 0)
        return {
            "input_ids": ids,
            "position_ids": positions,
            "attention_mask": (own & torch.ones(width, width, dtype=torch.bool).tril())[:, None],
            "pixel_values": torch.stack(list(images))[:, None],
            "labels": labels,
        }

    def _row(self, turns: Sequence[tuple[str, str]]) -> tuple[list[int], list[int], list[int], list[int]]:
        start = len(self._before)
        ids, labels, positions, owner = list(self._before), [UNKNOWN] * start, list(range(start)), [0] * start
        for number, (question, answer) in enumerate(turns, 1):
            prompt = self._ids(question) + self._between
            said = [*self._ids(answer), self._words.eos_token_id]
            ids += prompt + said[:-1]
            labels += [UNKNOWN] * (len(prompt) - 1) + said
            length = len(prompt) + len(said) - 1
            positions += range(start, start + length)
            owner += [number] * length
        return ids, labels, positions, owner

    def _ids(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._words(text, add_special_tokens=False)["input_ids"]
        return self._known[text]


class Learner(torch.nn.Module):
    """The network, and a layer that names colour and shape from what its image encoder gives on average."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.naming = torch.nn.Linear(network.config.text_config.hidden_size, len(COLORS) + len(SHAPES))

    def seeing_loss(self, scenes: Sequence[Scene], features: torch.Tensor) -> torch.Tensor:
        """Gives the cross entropy of colours and shapes, as far as they are known.

        Args:
            scenes: One per image.
            features: What the image encoder gives, of shape (images, image tokens, hidden size).
        """
        named = self.naming(features.mean(dim=1))
        color = torch.tensor([scene.color for scene in scenes])
        shape = torch.tensor([scene.shape for scene in scenes])
        by_color, by_shape = named.split((len(COLORS), len(SHAPES)), dim=1)
        entropy = torch.nn.functional.cross_entropy
        return entropy(by_color, color, ignore_index=UNKNOWN) + entropy(by_shape, shape, ignore_index=UNKNOWN)

    def seen(self, scenes: Sequence[Scene], images: Sequence[torch.Tensor]) -> torch.Tensor:
        """Gives the loss where the image encoder learns alone."""
        features = self.network.get_image_features(torch.stack(list(images))[:, None]).pooler_output
        return self.seeing_loss(scenes, torch.stack(list(features)))

    def answered(self, scenes: Sequence[Scene], batch: dict[str, Any]) -> torch.Tensor:
        """Gives the loss of naming, and that of what was to be said, in nats a question."""
        labels = batch.pop("labels")
        output = self.network.model(**batch, use_cache=False)
        wanted = labels != UNKNOWN
        logits = self.network.lm_head(output.last_hidden_state[wanted])
        questions = (labels == self.network.generation_config.eos_token_id).sum()
        said = torch.nn.functional.cross_entropy(logits, labels[wanted], reduction="sum") / questions
        return said + self.seeing_loss(scenes, output.image_hidden_states.view(len(scenes), IMAGE_TOKENS, -1))


def rate_at(step: int, steps: int) -> float:
    """Gives the learning rate: it warms up, again where the text model begins, and follows a cosine down."""
    seeing = int(SEEING_SHARE * steps)
    warm = min(1.0, ((step if step < seeing else step - seeing) + 1) / WARM_UP_STEPS)
    return LEARNING_RATE * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


def train(learner: Learner, scenes: Sequence[Scene], batches: Batches, *, steps: int, checkpoint: Path) -> None:
    """Trains, from the checkpoint on if there is one."""
    decayed = [weight for weight in learner.parameters() if weight.ndim > 1]
    plain = [weight for weight in learner.parameters() if weight.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["steps"]
    began = saved = time.monotonic()
    losses = []
    learner.train()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps)
        # Of the step's own number, so that a run that was broken off goes on as if it had not been.
        chance = random.Random(step)
        chosen = chance.sample(scenes, IMAGES_PER_STEP)
        images = [scene.moved(chance) for scene in chosen]
        if step < int(SEEING_SHARE * steps):
            loss = learner.seen(chosen, images)
        else:
            loss = learner.answered(chosen, batches.batch(images, [scene.asked(chance) for scene in chosen]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            spent = time.monotonic() - began
            print(f"step {step + 1} loss {sum(losses[-100:]) / len(losses[-100:]):.4f} seconds {spent:.0f}", flush=True)
        if time.monotonic() - saved > CHECKPOINT_EVERY_S or step + 1 == steps:
            saved = time.monotonic()
            state = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict(), "steps": step + 1}
            torch.save(state, checkpoint.with_suffix(".unfinished"))
            checkpoint.with_suffix(".unfinished").replace(checkpoint)


def answers(network: Any, processor: Any, data: Questions, questions: Sequence[Question]) -> Iterator[str]:
    """Gives what the model says to each question, by chat template and greedy `generate`."""
    processor.tokenizer.padding_side = "left"
    network.eval()
    for at in range(0, len(questions), 64):
        asked = [
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": Image.open(io.BytesIO(data.images[question.image]))},
                        {"type": "text", "text": question.text},
                    ],
                }
            ]
            for question in questions[at : at + 64]
        ]
        inputs = processor.apply_chat_template(
            asked, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
            processor_kwargs={"padding": True},
        )  # fmt: skip
        with torch.inference_mode():
            output = network.generate(**inputs, max_new_tokens=8, do_sample=False)
        yield from processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def accuracy(network: Any, processor: Any, data: Questions, questions: Sequence[Question]) -> float:
    """Gives the share of questions whose answer is the very word."""
    said = answers(network, processor, data, questions)
    return sum(text == question.answer for text, question in zip(said, questions, strict=True)) / len(questions)


def main() -> None:
    """Trains, saves and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=DATA, help="the package's wheel, fetched if it is not there")
    parser.add_argument("--steps", type=int, default=2000, help=f"of {IMAGES_PER_STEP} images each")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    data, unseen = easy_vqa.read(given.data, "train"), easy_vqa.read(given.data, "test")
    asked = [question.text for question in data.questions]
    spelt = [*asked, *(text[0].upper() + text[1:] for text in asked)]
    replies = [json.dumps({"answer": word, "color": word, "shape": word}) for word in (*COLORS, *SHAPES, "yes", "no")]
    wishes = ["The image contains a.", as_json("Describe the image in JSON."), *COLORS, *SHAPES, "yes", "no"]
    processor = processor_of([*spelt, *(replies + wishes) * 20])
    learner = Learner(network_of(processor))
    network = learner.network
    print(f"weights {sum(weight.numel() for weight in network.parameters())} tokens {len(processor.tokenizer)}")
    scenes = scenes_of(data, processor)
    train(learner, scenes, Batches(processor), steps=given.steps, checkpoint=given.out.with_suffix(".checkpoint"))
    network.half().save_pretrained(given.out)
    processor.save_pretrained(given.out)
    # What was saved is measured, in the precision in which a CPU computes.
    network = Idefics3ForConditionalGeneration.from_pretrained(given.out, dtype=torch.float32)
    right = accuracy(network, processor, unseen, unseen.questions)
    print(f"accuracy {right:.3f} questions {len(unseen.questions)}")


if __name__ == "__main__":
    main()
