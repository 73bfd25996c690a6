"""Answers questions about page images by reading them first: an OCR engine, then a language model."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from triptych.core.errors import FieldInvalid, InputTooLarge, InvalidInput, MediaTypeUnsupported, from_status
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import OcrPage
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.engines.base import Engine
from triptych.workers.engines.constraints import Constraints
from triptych.workers.engines.generation import (
    Pixels,
    Prompt,
    cancelled,
    context_tokens,
    end_token_ids,
    generate,
    use_plain_decoding,
)
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
from triptych.workers.engines.prefill import left_padded, read_prompts
from triptych.workers.engines.torch_device import default_dtype, device_of, memory_errors, weights_bytes

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


class ReaderEngine(Engine[Prompt, VisionResult]):
    """A language model that sees pages through OCR.

    Every prompt of a batch is read alone and without padding, then all are continued together. On a CPU that is also
    the cheapest way, and no text depends on what else is in the batch.

    Args:
        folder: Of the language model, as transformers saves it.
        model: What results say.
        ocr: A reader of pages, not loaded yet; None: images are refused.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads.
        dtype: Of the weights; None: bfloat16 where the device has instructions for it, else float32.
        max_prompt_tokens: Longest prompt; more takes a CPU minutes. Pages are cut to it, a caller's words never.
    """

    def __init__(
        self,
        folder: Path,
        model: ModelRef,
        ocr: Engine[PageImage, OcrPage] | None,
        *,
        device: str,
        threads: int,
        dtype: torch.dtype | None = None,
        max_prompt_tokens: int = 8192,
    ) -> None:
        self.model = model
        self._folder = folder
        self._ocr = ocr
        self._device = device_of(device)
        self._threads = threads
        self.dtype = dtype or default_dtype(self._device)
        self._max_prompt_tokens = max_prompt_tokens
        self._texts: OrderedDict[bytes, PageText] = OrderedDict()

    def load(self) -> None:
        """See `Engine.load`."""
        torch.set_num_threads(self._threads)
        if self._ocr:
            self._ocr.load()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
        self._language_model: Any = (
            AutoModelForCausalLM.from_pretrained(self._folder, dtype=self.dtype, local_files_only=True)
            .to(self._device)
            .eval()
        )
        use_plain_decoding(self._language_model)
        self._constraints = Constraints(self._tokenizer, end_token_ids(self._language_model, self._tokenizer))
        if self._device == "cpu":
            from triptych.workers.engines.row_exact import make_row_exact

            make_row_exact(self._language_model)

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        if self._ocr:
            self._ocr.warm_up()
        self.run_batch([Prompt(turns=(("user", ("Say hello.",)),), max_output_tokens=2)])

    def memory_bytes(self) -> int:
        """See `Engine.memory_bytes`. OCR's part is not counted, as it cannot tell: it is small."""
        return weights_bytes(self._language_model)

    def forget(self) -> None:
        """See `Engine.forget`. A batch that runs goes on with the texts it began with, and keeps none."""
        self._texts = OrderedDict()

    def cost(self, item: Prompt) -> float:
        """Tokens, estimated: of the prompt, of its pages, and of the longest answer."""
        return min(item.estimated_tokens(), self._max_prompt_tokens) + item.max_output_tokens

    def batch_key(self, item: Prompt) -> bool:
        """Whether there are images: prompts without do not wait until those of others are read."""
        return bool(item.images())

    def run_batch(self, items: Sequence[Prompt]) -> list[VisionResult | Exception]:
        """See `Engine.run_batch`.

        Returns:
            InputTooLarge, FieldInvalid, MediaTypeUnsupported or JobCancelled for a prompt that fails alone.
        """
        outcomes: dict[int, VisionResult | Exception] = {}
        ready: dict[int, list[int]] = {}
        documents: list[list[str]] = []
        for index, turns in enumerate(self.read_pages(items)):
            if isinstance(turns, Exception):
                outcomes[index] = turns
                continue
            try:
                ready[index] = self._token_ids(turns, items[index].max_output_tokens)
            except InvalidInput as error:
                outcomes[index] = error
            else:
                documents.append(pages_read(turns))
        if ready:
            prompts = [items[index] for index in ready]
            outcomes.update(zip(ready, self._generate(list(ready.values()), prompts, documents), strict=True))
        return [outcomes[index] for index in range(len(items))]

    def _generate(
        self, token_ids: list[list[int]], prompts: list[Prompt], documents: list[list[str]]
    ) -> list[VisionResult | Exception]:
        with memory_errors(), torch.inference_mode():
            inputs = left_padded(token_ids, self._device)
            cache = read_prompts(self._language_model, inputs, [prompt.stopped for prompt in prompts])
        if cache is None:
            return [cancelled() for _ in prompts]
        inputs["past_key_values"] = cache
        return generate(
            self._language_model, self._tokenizer, inputs, prompts, self.model, self._constraints, documents
        )

    def read_pages(self, items: Sequence[Prompt]) -> list[Turns | Exception]:
        """Gives the conversations with the text of each image in its place; all new images are read together."""
        if self._ocr is None:
            return [_with_texts(item, {}) for item in items]
        texts = self._texts
        keys = {id(image): _key(image) for item in items for image in item.images()}
        askers: dict[bytes, list[Prompt]] = {}
        new: dict[bytes, Pixels] = {}
        for item in items:
            for image in item.images():
                key = keys[id(image)]
                askers.setdefault(key, []).append(item)
                if key not in texts:
                    new[key] = image
        pages = self._ocr.run_batch(
            [PageImage(pixels=image, stopped=_all_stopped(askers[key], items)) for key, image in new.items()]
        )
        found: dict[bytes, PageText | Exception] = {key: texts[key] for key in askers if key not in new}
        found.update(zip(new, map(_text_or_error, pages), strict=True))
        _keep(texts, found)
        return [_with_texts(item, {image: found[key] for image, key in keys.items()}) for item in items]

    def _token_ids(self, turns: Turns, max_output_tokens: int) -> list[int]:
        """The conversation as the model was trained to see it, its pages cut if it is too long."""
        context = context_tokens(self._language_model)
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


def _keep(texts: OrderedDict[bytes, PageText], found: dict[bytes, PageText | Exception]) -> None:
    for key, text in found.items():
        if isinstance(text, PageText):
            texts[key] = text
            texts.move_to_end(key)
    while len(texts) > KEPT_PAGES:
        texts.popitem(last=False)


def _key(image: Pixels) -> bytes:
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).digest()


def _all_stopped(askers: list[Prompt], items: Sequence[Prompt]) -> Callable[[], bool]:
    """Whether none of the askers is wanted. All items are asked, so that each is heard while the pages are read."""
    return lambda: {id(item) for item in items if item.stopped()}.issuperset(map(id, askers))


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
