"""Answers questions about page images by reading them first: an OCR engine, then a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from triptych.core.errors import InputTooLarge, MediaTypeUnsupported
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import OcrPage, TextLine
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.engines.base import Engine
from triptych.workers.engines.generation import Prompt, generate
from triptych.workers.engines.paddle_ocr import PageImage

# What a page image may become, for the estimate of a batch's cost.
PAGE_TOKENS = 800
CHARACTERS_PER_TOKEN = 3.5
# Longest prompt of this engine in tokens: beyond it a CPU takes minutes. Page text is cut, never questions.
MAX_PROMPT_TOKENS = 8192


class ReaderEngine(Engine[Prompt, VisionResult]):
    """A language model that sees pages through OCR.

    Args:
        folder: Of the language model, as transformers saves it.
        model: What results say.
        ocr: A reader of pages, not loaded yet; None: images are refused.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads.
    """

    def __init__(
        self, folder: Path, model: ModelRef, ocr: Engine[PageImage, OcrPage] | None, *, device: str, threads: int
    ) -> None:
        self.model = model
        self._folder = folder
        self._ocr = ocr
        self._device = device_of(device)
        self._threads = threads

    def load(self) -> None:
        """See `Engine.load`."""
        torch.set_num_threads(self._threads)
        if self._ocr:
            self._ocr.load()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(self._folder, padding_side="left", local_files_only=True)
        self._language_model: Any = AutoModelForCausalLM.from_pretrained(
            self._folder, dtype=torch.bfloat16, local_files_only=True
        ).to(self._device)
        self._language_model.eval()

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        if self._ocr:
            self._ocr.warm_up()
        self.run_batch([Prompt(turns=(("user", ("Say hello.",)),), max_output_tokens=2)])

    def cost(self, item: Prompt) -> float:
        """Tokens, estimated: of the prompt, of its pages, and of the longest answer."""
        return estimated_tokens(item) + item.max_output_tokens

    def batch_key(self, item: Prompt) -> int:
        """Prompts of like length share a batch: padding at most doubles a row."""
        return int(estimated_tokens(item)).bit_length()

    def run_batch(self, items: Sequence[Prompt]) -> list[VisionResult | Exception]:
        """See `Engine.run_batch`."""
        outcomes: list[VisionResult | Exception | None] = [None] * len(items)
        ready: list[tuple[int, str]] = []
        for index, item in enumerate(self._read(items)):
            written = item if isinstance(item, Exception) else self._written(item)
            if isinstance(written, Exception):
                outcomes[index] = written
            else:
                ready.append((index, written))
        if ready:
            inputs = self._tokenizer([text for _, text in ready], return_tensors="pt", padding=True).to(self._device)
            prompts = [items[index] for index, _ in ready]
            results = generate(self._language_model, self._tokenizer, inputs, prompts, self.model)
            for (index, _), result in zip(ready, results, strict=True):
                outcomes[index] = result
        return [outcome for outcome in outcomes if outcome is not None]

    def _read(self, items: Sequence[Prompt]) -> list[Prompt | Exception]:
        """The prompts with the text of each image in its place; all images of the batch are read together."""
        images = [
            PageImage(pixels=part, stopped=item.stopped)
            for item in items
            for _, parts in item.turns
            for part in parts
            if not isinstance(part, str)
        ]
        if images and self._ocr is None:
            return [_refused(item) for item in items]
        pages = iter(self._ocr.run_batch(images) if self._ocr and images else ())
        return [_with_text(item, pages) for item in items]

    def _written(self, item: Prompt) -> str | Exception:
        """The conversation as the model was trained to see it, cut where its pages are too long."""
        limit = MAX_PROMPT_TOKENS - item.max_output_tokens
        turns = item.turns
        for _ in range(8):
            messages = [{"role": role, "content": "\n\n".join(map(str, parts))} for role, parts in turns]
            text: str = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            length = len(self._tokenizer(text).input_ids)
            if length <= limit:
                return text
            turns = _shortened(turns, limit / length)
        return InputTooLarge("the prompt is longer than the model can read", limit=limit, value=length)


def device_of(device: str) -> str:
    """Gives "cpu" or "cuda"; "auto" takes a GPU if there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def estimated_tokens(item: Prompt) -> float:
    """Tokens of a prompt, before anything is tokenized or read."""
    parts = [part for _, parts in item.turns for part in parts]
    characters = sum(len(part) for part in parts if isinstance(part, str))
    return characters / CHARACTERS_PER_TOKEN + PAGE_TOKENS * sum(not isinstance(part, str) for part in parts)


def page_text(page: OcrPage) -> str:
    """Gives a page's text with lines that stand side by side, such as a label and its value, on one line."""
    if not page.lines:
        return ""
    pieces = [page.lines[0].text]
    for above, line in pairwise(page.lines):
        pieces.append("  " if _beside(above, line) else "\n")
        pieces.append(line.text)
    return "".join(pieces)


def _beside(one: TextLine, other: TextLine) -> bool:
    top, bottom = (
        max(min(one.polygon[1::2]), min(other.polygon[1::2])),
        min(max(one.polygon[1::2]), max(other.polygon[1::2])),
    )
    heights = [max(line.polygon[1::2]) - min(line.polygon[1::2]) for line in (one, other)]
    return bottom - top > 0.5 * min(heights)


def _with_text(item: Prompt, pages: Any) -> Prompt | Exception:
    turns, failed = [], None
    for role, parts in item.turns:
        texts: list[str] = []
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            page = next(pages)
            if isinstance(page, Exception):
                failed = page
            else:
                texts.append(f"Document:\n{page_text(page)}")
        turns.append((role, tuple(texts)))
    return failed or replace(item, turns=tuple(turns))


def _refused(item: Prompt) -> Prompt | Exception:
    if any(not isinstance(part, str) for _, parts in item.turns for part in parts):
        return MediaTypeUnsupported("this model reads text only; choose one that sees images")
    return item


def _shortened(turns: tuple[tuple[str, Any], ...], share: float) -> tuple[tuple[str, Any], ...]:
    """Cuts the longest part, which is a document; instructions and questions are short."""
    longest = max((len(part), t, p) for t, (_, parts) in enumerate(turns) for p, part in enumerate(parts))
    _, at_turn, at_part = longest
    role, parts = turns[at_turn]
    kept = parts[at_part][: int(len(parts[at_part]) * share * 0.95)]
    changed = (role, (*parts[:at_part], kept, *parts[at_part + 1 :]))
    return (*turns[:at_turn], changed, *turns[at_turn + 1 :])
