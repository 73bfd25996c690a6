"""Generates text for a batch of prompts, each row with its own limit, temperature, stops and listener."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging as transformers_logging

from triptych.core.errors import InvalidInput, JobCancelled
from triptych.v1.common_pb2 import ModelRef, TokenUsage
from triptych.v1.vision_pb2 import FinishReason, VisionResult
from triptych.workers.engines.constraints import Constraints
from triptych.workers.engines.generated_text import GeneratedText
from triptych.workers.engines.heeding import Unwanted
from triptych.workers.engines.output_rules import FREE, OutputRules
from triptych.workers.engines.token_choice import TokenChoice
from triptych.workers.engines.torch_device import memory_errors
from triptych.workers.engines.torch_heeding import model_left_when

Pixels = npt.NDArray[np.uint8]
Part = str | Pixels
# For estimates: what an image becomes, be it patches or the text of a page.
IMAGE_TOKENS = 800
CHARACTERS_PER_TOKEN = 3.5
# A worker's log is no terminal.
transformers_logging.disable_progress_bar()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """One conversation to continue.

    Attributes:
        turns: (role, parts) in order; a part is text or an image of shape (height, width, 3), RGB.
        max_output_tokens: Bound of what is generated.
        temperature: 0 is greedy.
        top_p: Nucleus mass, above 0, up to 1.
        seed: Makes sampling repeatable, whatever else is in the batch. Without one it is drawn here, not later: a batch
            that is run again, in halves, has to say the same again.
        stop_sequences: Generation ends before any of these.
        rules: What the text is held to.
        stopped: Whether nobody wants it any more; asked at every token, and in between where all rows may be stopped.
        on_text: Told of all the text there is and how many tokens it took, each time there is more; never of a part of
            a stop sequence or of half a character. It begins anew if the batch is run again. The engine's thread calls.
    """

    turns: tuple[tuple[str, tuple[Part, ...]], ...]
    max_output_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = field(default_factory=lambda: secrets.randbits(62))
    stop_sequences: tuple[str, ...] = ()
    rules: OutputRules = FREE
    stopped: Callable[[], bool] = lambda: False
    on_text: Callable[[str, int], None] = lambda _text, _token_count: None

    def images(self) -> list[Pixels]:
        """Gives the images of all turns."""
        return [part for _, parts in self.turns for part in parts if not isinstance(part, str)]

    def estimated_tokens(self) -> float:
        """Gives about how long the prompt is, before anything is tokenized or read."""
        characters = sum(len(part) for _, parts in self.turns for part in parts if isinstance(part, str))
        return characters / CHARACTERS_PER_TOKEN + IMAGE_TOKENS * len(self.images())


def generate(
    model: Any,
    tokenizer: Any,
    inputs: Mapping[str, Any],
    prompts: Sequence[Prompt],
    ref: ModelRef,
    constraints: Constraints,
    documents: Sequence[Sequence[str]] | None = None,
) -> list[VisionResult | Exception]:
    """Continues every row of `inputs`, which are padded on the left; gives one result per prompt.

    Args:
        model: Of transformers, with a `generate`.
        tokenizer: The model's.
        inputs: What the model takes: `input_ids` and `attention_mask` of shape (rows, tokens), and more.
        prompts: One per row.
        ref: For the results.
        constraints: The model's.
        documents: For each prompt the text of its pages; None: the model sees them.

    Returns:
        JobCancelled for a row that was stopped; InvalidInput or OutputInvalid for one that cannot keep its rules.

    Raises:
        MemoryError: The batch does not fit the device.
    """
    end_tokens = end_token_ids(model, tokenizer)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    room = context_tokens(model) - inputs["input_ids"].shape[1]
    rows = [
        _Row(prompt, tokenizer, end_tokens, length, max(1, min(prompt.max_output_tokens, room)))
        for prompt, length in zip(prompts, lengths, strict=True)
    ]
    for index, row in enumerate(rows):
        row.begin(constraints, documents[index] if documents is not None else None)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max(row.limit for row in rows),
        eos_token_id=sorted(end_tokens),
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(end_tokens),
    )
    heeded = model_left_when(model, lambda: not any(row.wanted() for row in rows))
    with memory_errors(), torch.inference_mode(), suppress(Unwanted), heeded:
        model.generate(
            **inputs,
            generation_config=config,
            logits_processor=LogitsProcessorList([_RowSampler(rows)]),
            stopping_criteria=StoppingCriteriaList([_RowStopper(rows)]),
        )
    return [row.result(ref) for row in rows]


def use_plain_decoding(model: Any) -> None:
    """Drops the sampling options that a checkpoint recommends: a request says all of them, or means none."""
    model.generation_config = GenerationConfig(eos_token_id=model.generation_config.eos_token_id)


def end_token_ids(model: Any, tokenizer: Any) -> set[int]:
    """Gives the tokens that end a turn, as the model and its tokenizer name them."""
    named = model.generation_config.eos_token_id
    ids = set(named if isinstance(named, list) else [named]) | {tokenizer.eos_token_id}
    return {token for token in ids if token is not None}


def context_tokens(model: Any) -> int:
    """Gives how many tokens the model can have before it, prompt and answer together."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", 0) or 2048)


def cancelled() -> JobCancelled:
    """Gives what stands in the slot of a prompt that nobody wants any more."""
    return JobCancelled("the job was stopped before its text was finished")


class _Row:
    """What one row has generated so far, and why it ended."""

    def __init__(self, prompt: Prompt, tokenizer: Any, end_tokens: set[int], prompt_tokens: int, limit: int) -> None:
        self.prompt = prompt
        self.limit = limit
        self.ended = False
        self._prompt_tokens = prompt_tokens
        self._end_tokens = end_tokens
        self._text = GeneratedText(
            lambda tokens: str(tokenizer.decode(tokens, skip_special_tokens=True)), prompt.stop_sequences
        )
        self._told = ""
        self._token_count = 0
        self._finish = FinishReason.FINISH_REASON_UNSPECIFIED
        self._error: Exception | None = None
        self.choice: TokenChoice | None = None

    def begin(self, constraints: Constraints, documents: Sequence[str] | None) -> None:
        """Decides how its tokens are chosen; a row that cannot keep its rules ends before it begins."""
        try:
            greedy = self.prompt.temperature <= 0
            constraint = constraints.begin(self.prompt.rules, documents, self.limit, greedy=greedy)
        except InvalidInput as error:
            self._error, self.ended = error, True
            return
        if constraint or self.prompt.temperature > 0:
            self.choice = TokenChoice(
                temperature=self.prompt.temperature,
                top_p=self.prompt.top_p,
                seed=self.prompt.seed,
                constraint=constraint,
            )

    def wanted(self) -> bool:
        """Whether anybody waits for more of it."""
        return not (self.ended or self.prompt.stopped())

    def add(self, token: int) -> None:
        """Takes the next token; what comes after the end is nothing to us."""
        if self.ended:
            return
        if self.prompt.stopped():
            self.ended = True
            return
        self._token_count += 1
        if self.choice and self.choice.error:
            self._error, self.ended = self.choice.error, True
        elif token in self._end_tokens:
            self._end(FinishReason.FINISH_REASON_STOP)
        else:
            self._text.add(token)
            if self._text.stopped or (self.choice and self.choice.finished):
                self._end(FinishReason.FINISH_REASON_STOP)
            elif self._token_count == self.limit:
                self._end(FinishReason.FINISH_REASON_LENGTH)
        settled = self._text.text if self.ended else self._text.settled()
        if len(settled) > len(self._told):
            self._told = settled
            self.prompt.on_text(settled, self._token_count)

    def result(self, ref: ModelRef) -> VisionResult | Exception:
        """Gives what came of the row."""
        if self._error:
            return self._error
        if self._finish == FinishReason.FINISH_REASON_UNSPECIFIED:
            return cancelled()
        usage = TokenUsage(input_token_count=self._prompt_tokens, output_token_count=self._token_count)
        return VisionResult(model=ref, text=self._text.text, finish_reason=self._finish, usage=usage)

    def _end(self, finish: FinishReason.ValueType) -> None:
        self._text.close()
        # What comes last can complete a stop sequence too.
        self._finish = FinishReason.FINISH_REASON_STOP if self._text.stopped else finish
        self.ended = True


class _RowStopper(StoppingCriteria):  # type: ignore[misc]  # the package has no types
    """Ends each row at its own limit, stop or cancellation; the batch ends with its last row."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
            row.add(token)
        return torch.tensor([row.ended for row in self._rows], device=input_ids.device)


class _RowSampler(LogitsProcessor):  # type: ignore[misc]  # the package has no types
    """Chooses the tokens of the rows that have a temperature or a constraint; other rows stay as they are.

    A row gets one token that is certain, so that the greedy choice after it picks that one.
    """

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        for index, row in enumerate(self._rows):
            if row.choice and not row.ended:
                token = row.choice.next(scores[index])
                scores[index] = float("-inf")
                scores[index, token] = 0.0
        return scores
