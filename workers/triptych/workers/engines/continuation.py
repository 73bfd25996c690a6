"""One conversation that is being continued: what it has said so far, how it chooses, and why it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from triptych.core.errors import JobCancelled
from triptych.v1.common_pb2 import ModelRef, TokenUsage
from triptych.v1.vision_pb2 import FinishReason, VisionResult
from triptych.workers.engines.generated_text import GeneratedText
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.token_choice import TokenChoice, TokenConstraint


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How tokens become text."""

    decode: Callable[[list[int]], str]
    end_tokens: frozenset[int]
    """Those that end a turn."""

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> Vocabulary:
        """Gives that of a model of transformers."""
        named = model.generation_config.eos_token_id
        ids = set(named if isinstance(named, list) else [named]) | {tokenizer.eos_token_id}
        return cls(
            decode=lambda tokens: str(tokenizer.decode(tokens, skip_special_tokens=True)),
            end_tokens=frozenset(token for token in ids if token is not None),
        )


class Continuation:
    """The answer to one prompt, token by token.

    Args:
        prompt: What it answers.
        vocabulary: The model's.
        prompt_tokens: How many the prompt has.
        limit: The most it may say.
        constraint: What its text is held to; None: it is free.

    Attributes:
        ended: Whether nothing more comes.
        last_token: What it said last.
    """

    def __init__(
        self,
        prompt: Prompt,
        vocabulary: Vocabulary,
        *,
        prompt_tokens: int,
        limit: int,
        constraint: TokenConstraint | None = None,
    ) -> None:
        self.ended = False
        self.last_token = -1
        self._prompt = prompt
        self._prompt_tokens = prompt_tokens
        self._limit = limit
        self._end_tokens = vocabulary.end_tokens
        self._choice = TokenChoice(
            temperature=prompt.temperature, top_p=prompt.top_p, seed=prompt.seed, constraint=constraint
        )
        self._text = GeneratedText(vocabulary.decode, prompt.stop_sequences)
        self._told = ""
        self._token_count = 0
        self._finish = FinishReason.FINISH_REASON_UNSPECIFIED

    def add(self, logits: torch.Tensor) -> None:
        """Chooses the next token and tells its text.

        Args:
            logits: Shape (vocabulary,).
        """
        token = self.last_token = self._choice.next(logits)
        self._token_count += 1
        if self._choice.error:
            self.ended = True
            return
        if token in self._end_tokens:
            self._end(FinishReason.FINISH_REASON_STOP)
        else:
            self._text.add(token)
            if self._text.stopped or self._choice.finished:
                self._end(FinishReason.FINISH_REASON_STOP)
            elif self._token_count == self._limit:
                self._end(FinishReason.FINISH_REASON_LENGTH)
        settled = self._text.text if self.ended else self._text.settled()
        if len(settled) > len(self._told):
            self._told = settled
            self._prompt.on_text(settled, self._token_count)

    def result(self, ref: ModelRef) -> VisionResult | Exception:
        """Gives what came of it; after it ended. OutputInvalid: it cannot become what it is held to."""
        if self._choice.error:
            return self._choice.error
        usage = TokenUsage(input_token_count=self._prompt_tokens, output_token_count=self._token_count)
        confidence = self._choice.confidence
        return VisionResult(
            model=ref,
            text=self._text.text,
            finish_reason=self._finish,
            usage=usage,
            # In float32 further digits depend on the company.
            confidence=None if confidence is None else round(confidence, 4),
        )

    def _end(self, finish: FinishReason.ValueType) -> None:
        self._text.close()
        # What comes last can complete a stop sequence too.
        self._finish = FinishReason.FINISH_REASON_STOP if self._text.stopped else finish
        self.ended = True


def cancelled() -> JobCancelled:
    """Gives what stands in the slot of a prompt that nobody wants any more."""
    return JobCancelled("the job was stopped before its text was finished")
