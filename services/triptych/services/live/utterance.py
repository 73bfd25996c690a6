"""Where an utterance begins and ends, from what voice-activity detection found in looks at it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from triptych.services.live.agreement import Agreement
from triptych.services.live.words import HeardWord

# Voice-activity detection puts this much around speech, where there is room for it (TranscriptionResult.speech).
MARGIN_MS = 400
# Without speech so much is kept of the end: a beginning is only recognized with what follows it.
_LEAD_MS = 1000
# A look that saw more is the last from its beginning: later ones begin behind a settled word of its last seconds, as
# they cost the more the longer they are.
_LONG_LOOK_MS, _KEPT_LOOK_MS = 6_000, 4_000
# The longest piece that a window holds.
_MAX_LOOK_MS = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one decoding found, in milliseconds from the beginning of the call.

    Attributes:
        end_ms: End of the audio it saw.
        speech: Start and end of each stretch of speech, in order.
        last: Whether no audio will follow.
    """

    end_ms: int
    speech: Sequence[tuple[int, int]]
    words: Sequence[HeardWord]
    language_code: str = ""
    last: bool = False


class Utterance:
    """One utterance, from the first sound that may belong to it.

    Args:
        start_ms: Nothing before belongs to it.
        silence_ms: That ends it.
        max_ms: Its longest length.
    """

    def __init__(self, start_ms: int, *, silence_ms: int, max_ms: int) -> None:
        self._silence_ms = silence_ms
        self._max_ms = max_ms
        self.start_ms = start_ms
        self.look_start_ms = start_ms
        """Where the next look begins."""
        self.end_ms: int | None = None
        """None: it goes on, or has not begun."""
        self.heard_ms = start_ms
        """Up to here speech, if there is any, belongs to it."""
        self.begun = False
        self._speech_end_ms = start_ms
        self._cut = False
        self._silences: list[int] = []
        self.agreement = Agreement()
        self.language_code = ""

    def look_end_ms(self, sound_end_ms: int) -> int:
        """Gives where the next look ends, if there is audio up to a time."""
        return min(sound_end_ms, self.look_start_ms + _MAX_LOOK_MS)

    def following(self) -> Utterance:
        """Gives the next one; of one that was cut, it is what is left."""
        assert self.end_ms is not None
        rest = Utterance(self.end_ms, silence_ms=self._silence_ms, max_ms=self._max_ms)
        rest.heard_ms = self.heard_ms
        if self._cut:
            rest.begun, rest.agreement = True, self.agreement.behind(self.end_ms)
            rest.language_code, rest._speech_end_ms = self.language_code, self._speech_end_ms
        return rest

    def finish(self) -> None:
        """Ends it where speech was last heard: nothing more comes."""
        if self.begun and self.end_ms is None:
            self.end_ms = max(self.start_ms, self._speech_end_ms)

    def take(self, look: Look) -> None:
        """Takes note of a look: the utterance may begin, go on or end."""
        self.heard_ms = look.end_ms
        if not self._begins(look):
            self.begun = False
            self.start_ms = self.look_start_ms = max(self.start_ms, look.end_ms - _LEAD_MS)
            return
        if not self.begun:
            self.begun = True
            self.start_ms = self.look_start_ms = look.speech[0][0]
        self.language_code = look.language_code or self.language_code
        paused_ms = self._pause(look)
        heard_ms = look.end_ms if paused_ms is None else paused_ms
        self.agreement.hear([word for word in look.words if word.middle_ms < heard_ms])
        # Where stretches meet, their margins share a silence.
        met = [(end_ms + start_ms) // 2 for (_, end_ms), (start_ms, _) in itertools.pairwise(look.speech)]
        self._silences = [each for each in self._silences if each < self.look_start_ms] + met
        limit_ms = self.start_ms + self._max_ms
        if heard_ms > limit_ms:
            self.end_ms = self.agreement.cut(limit_ms - self._max_ms // 2, limit_ms, self._silences) or limit_ms
            self._cut = True
            self.heard_ms = heard_ms
        elif paused_ms is not None:
            self.end_ms = paused_ms
            # Speech behind the pause is the next utterance's.
            self.heard_ms = paused_ms if look.speech and look.speech[-1][1] > paused_ms else look.end_ms
        elif look.end_ms - self.look_start_ms > _LONG_LOOK_MS:
            trimmed_ms = self.agreement.trim(look.end_ms - _KEPT_LOOK_MS, self._silences)
            self.look_start_ms = trimmed_ms or self.look_start_ms

    @property
    def _trimmed(self) -> bool:
        return self.look_start_ms > self.start_ms

    def _begins(self, look: Look) -> bool:
        """Whether there is speech: in this look, in the part that looks no longer see, or as settled words."""
        return bool(look.speech) or self._trimmed or self.agreement.settled_ms > 0

    def _pause(self, look: Look) -> int | None:
        """Where speech ended, if it is followed by enough silence or by nothing at all."""
        end_ms, margin_ms = max(self.look_start_ms, self.agreement.settled_ms), 0
        for number, (start_ms, next_ms) in enumerate(look.speech):
            # Where margins meet, silence is too short to be seen.
            silent_ms = start_ms - end_ms + margin_ms + MARGIN_MS if start_ms > end_ms else 0
            if silent_ms >= self._silence_ms and (number or self._trimmed):
                return end_ms
            end_ms, margin_ms = next_ms, MARGIN_MS
        self._speech_end_ms = end_ms
        silent_ms = look.end_ms - end_ms + margin_ms if look.end_ms > end_ms else 0
        return end_ms if look.last or silent_ms >= self._silence_ms else None
