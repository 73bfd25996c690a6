"""What a server said so far, put together from the pieces of its stream."""

from __future__ import annotations

import json
import math
from typing import Any

from triptych.v1.vision_pb2 import FinishReason
from triptych.workers.engines.generation import CHARACTERS_PER_TOKEN

_FINISHES = {"stop": FinishReason.FINISH_REASON_STOP, "length": FinishReason.FINISH_REASON_LENGTH}
END = "[DONE]"
# The contract's counts have 32 bits, signed.
_MAX_TOKENS = 2**31 - 1


class AnswerBroken(Exception):
    """The stream is none of chat completions, or tells an error."""


class Answer:
    """The text of one call as it grows.

    Args:
        max_output_tokens: Bound that was asked for: a server that says far more is not listened to.

    Attributes:
        text: So far.
        piece_count: Pieces that it came in: about as many as tokens.
        complete: Whether the server said that it has ended.
        finish: Why, if it said so.
        usage: (tokens read, tokens written), if the server told.
        model: Name that the server gives itself.
    """

    def __init__(self, max_output_tokens: int) -> None:
        self._max_characters = 32 * max_output_tokens + 4096
        self.text = ""
        self.piece_count = 0
        self.complete = False
        self.finish = FinishReason.FINISH_REASON_UNSPECIFIED
        self.usage: tuple[int, int] | None = None
        self.model = ""

    def add(self, data: str) -> bool:
        """Takes the data of one event; says whether there is more text.

        Raises:
            AnswerBroken: It is not what a server of chat completions says.
        """
        if data == END:
            self.complete = True
            return False
        try:
            said = json.loads(data)
            self._refuse_error(said)
            self.model = self.model or str(said.get("model") or "")
            self._take_usage(said.get("usage"))
            grew = [self._take_choice(choice) for choice in said.get("choices") or ()]
            return any(grew)
        except (ValueError, OverflowError, TypeError, KeyError, AttributeError) as error:
            raise AnswerBroken("the stream is none of chat completions") from error

    def likely_output_tokens(self) -> int:
        """Gives about how many tokens it is, for servers that do not tell."""
        return max(self.piece_count, math.ceil(len(self.text) / CHARACTERS_PER_TOKEN))

    def _refuse_error(self, said: dict[str, Any]) -> None:
        if "error" in said:
            raise AnswerBroken("the server told an error in its stream")

    def _take_usage(self, usage: dict[str, Any] | None) -> None:
        # Some servers tell it in every piece, as it grows.
        if usage and usage.get("prompt_tokens") is not None:
            counts = int(usage["prompt_tokens"]), int(usage.get("completion_tokens") or 0)
            if max(counts) > _MAX_TOKENS:
                raise AnswerBroken("the server counts more tokens than there can be")
            self.usage = max(0, counts[0]), max(0, counts[1])

    def _take_choice(self, choice: dict[str, Any]) -> bool:
        if finish := choice.get("finish_reason"):
            self.complete = True
            self.finish = _FINISHES.get(finish, FinishReason.FINISH_REASON_UNSPECIFIED)
        piece = (choice.get("delta") or {}).get("content")
        if not piece:
            return False
        self.text += piece
        self.piece_count += 1
        if len(self.text) > self._max_characters:
            raise AnswerBroken("the answer is far longer than was asked for")
        return True
