"""Which words of an utterance are settled: those on which two decodings in a row agree.

LocalAgreement-2 of Macháček et al. 2023, "Turning Whisper into Real-Time Transcription System"
(https://arxiv.org/abs/2307.14743), after Liu et al. 2020.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from triptych.services.live.words import HeardWord


class Agreement:
    """Follows the decodings of one utterance. What is settled stays as it is, whatever comes later."""

    def __init__(self) -> None:
        self._settled: list[HeardWord] = []
        self._open: list[HeardWord] = []
        # Settled words before this one are no longer decoded.
        self._first = 0

    @property
    def stable_text(self) -> str:
        """The settled words."""
        return _text(self._settled).lstrip()

    @property
    def unstable_text(self) -> str:
        """What the newest decoding says behind them."""
        return _text(self._open) if self._settled else _text(self._open).lstrip()

    @property
    def settled_ms(self) -> int:
        """End of the last settled word; 0: there is none."""
        return self._settled[-1].end_ms if self._settled else 0

    def hear(self, words: Sequence[HeardWord]) -> None:
        """Takes the next decoding, of the same audio and what came since."""
        following = self._behind_settled(words)
        pairs = itertools.takewhile(lambda pair: pair[0].key == pair[1].key, zip(self._open, following, strict=False))
        agreed = sum(1 for _ in pairs)
        self._settled += following[:agreed]
        self._open = following[agreed:]

    def cut(self, least_ms: int, most_ms: int, silences: Sequence[int] = ()) -> int | None:
        """Gives the best place to cut between two times: in a silence, or else behind a settled word, or any other.

        Args:
            least_ms: Not before that.
            most_ms: Not behind that.
            silences: Middles of the silences that voice-activity detection found, in order.
        """
        words = [*self._settled, *self._open]
        # The last word may go on.
        places = [n for n in range(len(words) - 1) if least_ms <= _behind(words, n) <= most_ms]
        best = _best(words, [n for n in places if n < len(self._settled)] or places)
        quiet = _quiet(words, [each for each in silences if least_ms <= each <= most_ms])
        return quiet if quiet is not None or best is None else _behind(words, best)

    def trim(self, least_ms: int, silences: Sequence[int] = ()) -> int | None:
        """Gives a place from which later decodings can begin, and expects them to do so; None: there is none yet.

        What lies before it is settled. It is chosen as in `cut`.
        """
        words = self._settled
        quiet = _quiet(words, [each for each in silences if least_ms <= each <= self.settled_ms])
        best = _best(words, [n for n in range(self._first, len(words) - 1) if words[n].end_ms >= least_ms])
        place_ms = quiet if quiet is not None or best is None else _behind(words, best)
        if place_ms is not None:
            self._first = sum(word.middle_ms < place_ms for word in words)
        return place_ms

    def behind(self, cut_ms: int) -> Agreement:
        """Gives what goes on behind a cut: words that were settled stay so."""
        rest = Agreement()
        rest._settled = [word for word in self._settled if word.middle_ms >= cut_ms]
        rest._open = [word for word in self._open if word.middle_ms >= cut_ms]
        return rest

    def _behind_settled(self, words: Sequence[HeardWord]) -> list[HeardWord]:
        """The words of a decoding that come after what is settled."""
        known = [word.key for word in self._settled[self._first :]]
        if [word.key for word in words[: len(known)]] == known:
            return list(words[len(known) :])
        # It heard something else there: now only times tell.
        return [word for word in words if word.middle_ms >= self.settled_ms]


def _best(words: Sequence[HeardWord], places: Sequence[int]) -> int | None:
    """The end of a sentence or, failing that, the widest pause; the last one of equal ones."""
    return max(places, key=lambda n: (words[n].ends_sentence, _pause_ms(words, n), n), default=None)


def _quiet(words: Sequence[HeardWord], silences: Sequence[int]) -> int | None:
    """The last silence, or the last one behind a sentence if there is one. Times of words are worse than those."""

    def worth(at_ms: int) -> tuple[bool, int]:
        before = [word for word in words if word.middle_ms < at_ms]
        return bool(before) and before[-1].ends_sentence, at_ms

    return max(silences, key=worth, default=None)


def _behind(words: Sequence[HeardWord], n: int) -> int:
    """The middle of the pause behind a word."""
    return words[n].end_ms + _pause_ms(words, n) // 2


def _pause_ms(words: Sequence[HeardWord], n: int) -> int:
    """Between a word and the next one."""
    return max(0, words[n + 1].start_ms - words[n].end_ms) if n + 1 < len(words) else 0


def _text(words: Sequence[HeardWord]) -> str:
    return "".join(word.text for word in words)
