"""Generates text for a batch of prompts, each row with its own limit, temperature, stops and listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging as transformers_logging

from triptych.core.errors import JobCancelled
from triptych.v1.common_pb2 import ModelRef, TokenUsage
from triptych.v1.vision_pb2 import FinishReason, VisionResult

Pixels = npt.NDArray[np.uint8]
Part = str | Pixels
# A worker's log is no terminal.
transformers_logging.disable_progress_bar()

# What a decoder puts where the bytes of a character are not complete yet.
_INCOMPLETE = "\ufffd"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """One conversation to continue.

    Attributes:
        turns: (role, parts) in order; a part is text or an image of shape (height, width, 3), RGB.
        max_output_tokens: Bound of what is generated.
        temperature: 0 is greedy.
        top_p: Nucleus mass, above 0, up to 1.
        seed: Makes sampling repeatable, whatever else is in the batch.
        stop_sequences: Generation ends before any of these.
        stopped: Whether nobody wants it any more; asked at every token.
        on_text: Told of new text, never of a part of a stop sequence or of half a character.
    """

    turns: tuple[tuple[str, tuple[Part, ...]], ...]
    max_output_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop_sequences: tuple[str, ...] = ()
    stopped: Callable[[], bool] = lambda: False
    on_text: Callable[[str], None] = lambda _text: None


def generate(
    model: Any, tokenizer: Any, inputs: Mapping[str, Any], prompts: Sequence[Prompt], ref: ModelRef
) -> list[VisionResult | Exception]:
    """Continues every row of `inputs`, which are padded on the left; gives one result per prompt.

    Raises:
        MemoryError: The batch does not fit the device.
    """
    end_tokens = end_token_ids(model, tokenizer)
    rows = [Row(prompt, tokenizer, end_tokens) for prompt in prompts]
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max(prompt.max_output_tokens for prompt in prompts),
        eos_token_id=sorted(end_tokens),
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(end_tokens),
    )
    try:
        with torch.inference_mode():
            model.generate(
                **inputs,
                generation_config=config,
                logits_processor=LogitsProcessorList([_RowSampler(prompts)]),
                stopping_criteria=StoppingCriteriaList([_RowStopper(rows)]),
            )
    except torch.cuda.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    return [row.result(ref, length) for row, length in zip(rows, lengths, strict=True)]


def end_token_ids(model: Any, tokenizer: Any) -> set[int]:
    """Gives the tokens that end a turn, as the model and its tokenizer name them."""
    named = model.generation_config.eos_token_id
    ids = set(named if isinstance(named, list) else [named]) | {tokenizer.eos_token_id}
    return {token for token in ids if token is not None}


class Row:
    """What one row has generated so far, and why it ended."""

    def __init__(self, prompt: Prompt, tokenizer: Any, end_tokens: set[int]) -> None:
        self.finish: FinishReason.ValueType | None = None
        self._prompt = prompt
        self._tokenizer = tokenizer
        self._end_tokens = end_tokens
        self._tokens: list[int] = []
        self._text = ""
        self._told = 0
        self._cancelled = False

    def add(self, token: int) -> bool:
        """Takes the next token; gives whether the row has ended."""
        if self.finish is not None or self._cancelled:
            return True
        if self._prompt.stopped():
            self._cancelled = True
        elif token in self._end_tokens:
            self._end(FinishReason.FINISH_REASON_STOP)
        else:
            self._tokens.append(token)
            self._text = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
            if (cut := self._stop_at()) is not None:
                self._text = self._text[:cut]
                self._end(FinishReason.FINISH_REASON_STOP)
            elif len(self._tokens) >= self._prompt.max_output_tokens:
                self._end(FinishReason.FINISH_REASON_LENGTH)
            else:
                self._tell(self._safe_length())
        return self.finish is not None or self._cancelled

    def result(self, ref: ModelRef, input_tokens: int) -> VisionResult | Exception:
        """Gives what came of the row."""
        if self._cancelled:
            return JobCancelled("stopped while generating")
        usage = TokenUsage(input_token_count=input_tokens, output_token_count=len(self._tokens))
        finish = self.finish or FinishReason.FINISH_REASON_LENGTH
        return VisionResult(model=ref, text=self._text, finish_reason=finish, usage=usage)

    def _end(self, finish: FinishReason.ValueType) -> None:
        self.finish = finish
        self._tell(len(self._text))

    def _stop_at(self) -> int | None:
        places = [self._text.find(stop) for stop in self._prompt.stop_sequences]
        return min((place for place in places if place >= 0), default=None)

    def _safe_length(self) -> int:
        """How much of the text can neither be the beginning of a stop sequence nor change with the next token."""
        text = self._text.rstrip(_INCOMPLETE)
        held = 0
        for stop in self._prompt.stop_sequences:
            for size in range(min(len(stop) - 1, len(text)), held, -1):
                if text.endswith(stop[:size]):
                    held = size
                    break
        return len(text) - held

    def _tell(self, length: int) -> None:
        if length > self._told:
            self._prompt.on_text(self._text[self._told : length])
            self._told = length


class _RowStopper(StoppingCriteria):  # type: ignore[misc]  # the package has no types
    """Ends each row at its own limit, stop or cancellation; the batch ends with its last row."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        ended = [row.add(token) for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True)]
        return torch.tensor(ended, device=input_ids.device)


class _RowSampler(LogitsProcessor):  # type: ignore[misc]  # the package has no types
    """Samples the rows that have a temperature, each with its own generator; greedy rows stay as they are.

    A sampled row gets one token that is certain, so that the greedy choice after it picks that one: what a row samples
    depends on its own seed only, not on its neighbours.
    """

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = prompts
        self._generators: dict[int, torch.Generator] = {}
        for index, prompt in enumerate(prompts):
            if prompt.temperature > 0:
                generator = torch.Generator()
                if prompt.seed is None:
                    generator.seed()
                else:
                    generator.manual_seed(prompt.seed)
                self._generators[index] = generator

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        for index, generator in self._generators.items():
            prompt = self._prompts[index]
            token = _sampled(scores[index].float().cpu() / prompt.temperature, prompt.top_p, generator)
            scores[index] = float("-inf")
            scores[index, token] = 0.0
        return scores


def _sampled(logits: torch.Tensor, top_p: float, generator: torch.Generator) -> int:
    chances, order = torch.softmax(logits, dim=-1).sort(descending=True)
    # The nucleus: the likeliest tokens until their mass reaches top_p, at least one.
    kept = chances.cumsum(dim=-1) - chances < top_p
    return int(order[torch.multinomial(chances * kept, 1, generator=generator)])
