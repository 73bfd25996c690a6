"""What is asked of a language model: a conversation, and how to continue it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.output_rules import FREE, OutputRules

Pixels = npt.NDArray[np.uint8]
Part = str | Pixels
# For estimates: what an image becomes, be it patches or the text of a page.
IMAGE_TOKENS = 800
CHARACTERS_PER_TOKEN = 3.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """One conversation to continue.

    Attributes:
        turns: (role, parts) in order; a part is text or an image of shape (height, width, 3), RGB.
        tenant: Whose it is; what is kept of its images serves no other.
        max_output_tokens: Bound of what is generated.
        temperature: 0 is greedy.
        top_p: Nucleus mass, above 0, up to 1.
        seed: Makes sampling repeatable, whatever else is in the batch. Without one it is drawn here, not later: a
            prompt that begins anew, after its batch failed, has to say the same again.
        stop_sequences: Generation ends before any of these.
        rules: What the text is held to.
        stopped: Whether nobody wants it any more; asked at every token, and in between where all rows may be stopped.
        on_text: Told of all the text there is and how many tokens it took, each time there is more; never of a part of
            a stop sequence or of half a character. It begins anew if the batch failed. The engine's thread calls.
    """

    turns: tuple[tuple[str, tuple[Part, ...]], ...]
    tenant: str = ""
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
