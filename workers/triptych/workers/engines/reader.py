"""Answers questions about page images by reading them first: an OCR engine, then a language model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from triptych.core.errors import FieldInvalid, InputTooLarge, InvalidInput, MediaTypeUnsupported, from_status
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import OcrPage
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.engines.adapter import merged
from triptych.workers.engines.base import Engine, RunningEngine
from triptych.workers.engines.generation import Pixels, Prompt
from triptych.workers.engines.image_key import image_key
from triptych.workers.engines.language_model import LanguageModel
from triptych.workers.engines.output_rules import NOT_FOUND
from triptych.workers.engines.paddle_ocr import PageImage
from triptych.workers.engines.page_text import (
    NOTHING_READ,
    PageText,
    Turns,
    chat_messages,
    fair_shares,
    page_text,
    pages_read,
    shortened,
)
from triptych.workers.engines.prefill import PromptInputs
from triptych.workers.engines.running_batch import Ready, ReadyPrompt, RunningBatch
from triptych.workers.engines.torch_device import default_dtype, device_of, memory_meter, weights_bytes
from triptych.workers.memory_meters import MemoryMeter

# Texts of pages that are kept: further questions about a page do not read it again.
KEPT_PAGES = 256
# What the model is told if the caller tells it nothing. Of 52 questions about a public set of document images it got
# 21 answered exactly and 27 in all; "answer with only the exact value" 20 and 20, a longer text 13 and 21.
SYSTEM = "You read documents. Answer from the document, with the exact value copied from it; be brief."
# What it is told instead where it can only copy.
COPY_SYSTEM = (
    "You read documents. Answer with the exact value copied from the document, and nothing else; "
    f'if the document does not say it, answer "{NOT_FOUND}".'
)


class ReaderEngine(RunningEngine[Prompt, VisionResult]):
    """A language model that sees pages through OCR.

    Pages of prompts that come at once are recognized together; while that lasts, rows that run wait.

    Args:
        folder: Of the language model, as transformers saves it.
        model: What results say.
        ocr: A reader of pages, not loaded yet; None: images are refused.
        adapter: Folder of a LoRA adapter to the weights, as peft saves it; None: they are used as they are.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads.
        dtype: Of the weights; None: bfloat16 where the device has instructions for it, else float32.
        max_prompt_tokens: Longest prompt; more takes a CPU minutes. Pages are cut to it, a caller's words never.
        piece_tokens: Length of the pieces in which prompts are read.
    """

    def __init__(
        self,
        folder: Path,
        model: ModelRef,
        ocr: Engine[PageImage, OcrPage] | None,
        *,
        adapter: Path | None = None,
        device: str,
        threads: int,
        dtype: torch.dtype | None = None,
        max_prompt_tokens: int = 8192,
        piece_tokens: int = 512,
    ) -> None:
        self.model = model
        self._folder = folder
        self._adapter = adapter
        self._ocr = ocr
        self._device = device_of(device)
        self._threads = threads
        self.dtype = dtype or default_dtype(self._device)
        self._max_prompt_tokens = max_prompt_tokens
        self._piece_tokens = piece_tokens
        self._texts: OrderedDict[Hashable, PageText] = OrderedDict()

    def load(self) -> None:
        """See `Engine.load`."""
        torch.set_num_threads(self._threads)
        if self._ocr:
            self._ocr.load()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
        network = AutoModelForCausalLM.from_pretrained(self._folder, dtype=self.dtype, local_files_only=True)
        self._network: Any = merged(network.to(self._device), self._adapter).eval()
        self._language_model = LanguageModel(self._network, self._tokenizer, piece_tokens=self._piece_tokens)

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        if self._ocr:
            self._ocr.warm_up()
        self.run_batch([Prompt(turns=(("user", ("Say hello.",)),), max_output_tokens=2)])

    def memory_bytes(self) -> int:
        """See `Engine.memory_bytes`. OCR's part is not counted, as it cannot tell: it is small."""
        return weights_bytes(self._network)

    def memory_meter(self) -> MemoryMeter:
        """See `Engine.memory_meter`."""
        return memory_meter(self._device)

    def forget(self) -> None:
        """See `Engine.forget`. A batch that runs goes on with the texts it began with, and keeps none."""
        self._texts = OrderedDict()

    def cost(self, item: Prompt) -> float:
        """Tokens, estimated: of the prompt, of its pages, and of the longest answer."""
        return min(item.estimated_tokens(), self._max_prompt_tokens) + item.max_output_tokens

    def begin_batch(self) -> RunningBatch:
        """See `RunningEngine.begin_batch`.

        Results are InputTooLarge, FieldInvalid, MediaTypeUnsupported or JobCancelled for a prompt that fails alone.
        """
        return self._language_model.begin_batch(self, self.model)

    def read(self, prompts: Sequence[Prompt], hear: Callable[[], object]) -> list[Ready]:
        """See `Readings.read`: all, as pages are recognized together."""
        turns = self.read_pages(prompts, hear)
        return [self._ready(prompt, one) for prompt, one in zip(prompts, turns, strict=True)]

    def _ready(self, prompt: Prompt, turns: Turns | Exception) -> Ready:
        if isinstance(turns, Exception):
            return turns
        try:
            ids = self._token_ids(turns, prompt.max_output_tokens)
        except InvalidInput as error:
            return error
        inputs = PromptInputs(ids=torch.tensor([ids], device=self._device))
        limit = self._language_model.answer_tokens(len(ids), prompt.max_output_tokens)
        return ReadyPrompt(inputs=inputs, limit=limit, documents=pages_read(turns))

    def read_pages(self, items: Sequence[Prompt], hear: Callable[[], object] = lambda: None) -> list[Turns | Exception]:
        """Gives the conversations with the text of each image in its place; all new images are read together.

        Args:
            items: Whose images.
            hear: Called again and again meanwhile: asks all who may be stopped.
        """
        if self._ocr is None:
            return [_with_texts(item, {}) for item in items]
        texts = self._texts
        # One tenant's pages are no help to another.
        keys = {(id(item), id(image)): image_key(item.tenant, image) for item in items for image in item.images()}
        askers: dict[Hashable, list[Prompt]] = {}
        new: dict[Hashable, Pixels] = {}
        for item in items:
            for image in item.images():
                key = keys[id(item), id(image)]
                askers.setdefault(key, []).append(item)
                if key not in texts:
                    new[key] = image
        pages = self._ocr.run_batch(
            [PageImage(pixels=image, stopped=_all_stopped(askers[key], hear)) for key, image in new.items()]
        )
        found: dict[Hashable, PageText | Exception] = {key: texts[key] for key in askers if key not in new}
        found.update(zip(new, map(_text_or_error, pages), strict=True))
        _keep(texts, found)
        return [
            _with_texts(item, {image: found[key] for (asker, image), key in keys.items() if asker == id(item)})
            for item in items
        ]

    def _token_ids(self, turns: Turns, max_output_tokens: int) -> list[int]:
        """The conversation as the model was trained to see it, its pages cut if it is too long."""
        context = self._language_model.context_tokens
        limit = min(self._max_prompt_tokens, context - min(max_output_tokens, context // 2))
        ids = self._templated(turns)
        if len(ids) <= limit:
            return ids
        pages = [part for _, parts in turns for part in parts if isinstance(part, PageText)]
        lengths = [len(self._tokenizer(page, add_special_tokens=False).input_ids) for page in pages]
        # A cut costs a few tokens of its own, and text may tokenize otherwise at its edges.
        budget = limit - (len(ids) - sum(lengths)) - 8 * len(pages)
        if not pages or budget < 16 * len(pages):
            raise InputTooLarge("the prompt is longer than the model can read", limit=limit, value=len(ids))
        shares = iter(fair_shares(lengths, budget))
        return self._templated(
            [
                (
                    role,
                    [
                        shortened(part, self._tokenizer, next(shares)) if isinstance(part, PageText) else part
                        for part in parts
                    ],
                )
                for role, parts in turns
            ]
        )

    def _templated(self, turns: Turns) -> list[int]:
        try:
            ids = self._tokenizer.apply_chat_template(
                chat_messages(turns), add_generation_prompt=True, return_dict=True
            )
        except Exception as error:
            # Templates are programs of the model's and raise what they like.
            raise FieldInvalid("messages", f"the model's chat template refuses them: {error}") from error
        return list(ids["input_ids"])


def _keep(texts: OrderedDict[Hashable, PageText], found: dict[Hashable, PageText | Exception]) -> None:
    for key, text in found.items():
        if isinstance(text, PageText):
            texts[key] = text
            texts.move_to_end(key)
    while len(texts) > KEPT_PAGES:
        texts.popitem(last=False)


def _all_stopped(askers: list[Prompt], hear: Callable[[], object]) -> Callable[[], bool]:
    """Whether none of the askers is wanted; all others are asked along."""

    def ask() -> bool:
        hear()
        return sum(asker.stopped() for asker in askers) == len(askers)

    return ask


def _text_or_error(page: OcrPage | Exception) -> PageText | Exception:
    if isinstance(page, Exception):
        return page
    return from_status(page.error) if page.HasField("error") else page_text(page)


def _with_texts(item: Prompt, texts: dict[int, PageText | Exception]) -> Turns | Exception:
    """The turns with text for images; the first failed image fails the prompt."""
    turns: Turns = []
    for role, parts in item.turns:
        written: list[str] = []
        for part in parts:
            text = part if isinstance(part, str) else texts.get(id(part))
            if text is None:
                return MediaTypeUnsupported("this model reads text only; choose one that sees images")
            if isinstance(text, Exception):
                return text
            written.append(text)
        turns.append((role, written))
    pages = [part for _, parts in turns for part in parts if isinstance(part, PageText)]
    if pages and all(page == NOTHING_READ for page in pages):
        # A language model that is shown nothing would make something up.
        return MediaTypeUnsupported(
            "no text was recognized in the image, and this model answers from text alone; name one that sees images"
        )
    if item.images() and turns[0][0] != "system":
        turns.insert(0, ("system", [COPY_SYSTEM if item.rules.copied else SYSTEM]))
    return turns
