"""Text that grows token by token, cut before a stop sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# What a decoder puts where the bytes of a character are not complete yet.
_INCOMPLETE = "\ufffd"


class GeneratedText:
    """What one row has said so far.

    Tokens are decoded in a window of the last few, so a long text costs no more per token than a short one. The window
    begins one step early, because some decoders treat a text's first token in a way of its own.

    Args:
        decode: Text of token ids.
        stop_sequences: The text ends before the first of these.

    Attributes:
        text: All that is decoded; a character whose bytes are not complete is not in it.
        stopped: Whether a stop sequence came; it is not in the text.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop_sequences: Sequence[str] = ()) -> None:
        self.text = ""
        self.stopped = False
        self._decode = decode
        self._stop_sequences = stop_sequences
        self._longest_stop = max(map(len, stop_sequences), default=0)
        self._tokens: list[int] = []
        self._window_start = 0
        self._decoded = 0

    def add(self, token: int) -> None:
        """Takes the next token."""
        self._tokens.append(token)
        new = self._undecoded()
        if new and not new.endswith(_INCOMPLETE):
            self._window_start, self._decoded = self._decoded, len(self._tokens)
            self._append(new)

    def close(self) -> None:
        """Takes what is left: a character that will never be complete is shown as such."""
        if not self.stopped:
            self._append(self._undecoded())
            self._decoded = len(self._tokens)

    def settled(self) -> str:
        """Gives the beginning of the text that no later token can change: no part of a stop sequence."""
        if self.stopped:
            return self.text
        held = max(
            (
                size
                for stop in self._stop_sequences
                for size in range(1, min(len(stop), len(self.text) + 1))
                if self.text.endswith(stop[:size])
            ),
            default=0,
        )
        return self.text[: len(self.text) - held]

    def _undecoded(self) -> str:
        before = self._decode(self._tokens[self._window_start : self._decoded])
        return self._decode(self._tokens[self._window_start :])[len(before) :]

    def _append(self, new: str) -> None:
        # A stop sequence may have begun in what was there, but not have ended in it.
        search_from = max(0, len(self.text) - self._longest_stop + 1)
        self.text += new
        places = [self.text.find(stop, search_from) for stop in self._stop_sequences]
        found = [place for place in places if place >= 0]
        if found:
            self.text = self.text[: min(found)]
            self.stopped = True
