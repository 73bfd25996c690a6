"""Reads a recording: gives the windows of its channels while it is decoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from triptych.workers.hearing.channel import Channel, Cutter
from triptych.workers.hearing.clips import Clips
from triptych.workers.hearing.windows import WINDOW_SAMPLES, Packer, Piece, Stretch
from triptych.workers.media.audio_file import AudioFile
from triptych.workers.media.resampling import SAMPLE_RATE_HZ

# Where channels are separate, each waits for the others to be told in order, so none may leave a window open for long.
_MAX_SPAN_SAMPLES = 60 * SAMPLE_RATE_HZ
# By which what a container says of its length may differ from what is decoded.
_SLACK_MS = 1000


class Recording:
    """The windows of a file, and how far they are found. Places are numbers of samples from its beginning.

    Attributes:
        file: Which is read.
        reached: Place before which no more windows begin.
        speech: What was found so far, clip by clip and channel by channel.

    Args:
        file: At its beginning.
        clips: What of it is read; no window spans two.
        cutter: Finds what goes into the windows of a channel from a place on.

    Raises:
        RangeOutsideSource: A clip is outside, as far as the file tells its length.
    """

    def __init__(self, file: AudioFile, clips: Clips, cutter: Callable[[int], Cutter]) -> None:
        self.file = file
        self.reached = 0
        self.speech: list[Stretch] = []
        self._clips = clips
        self._cutter = cutter
        self._channels: Sequence[Channel] = ()
        if file.claimed is not None and file.exact:
            clips.check(file.claimed, _SLACK_MS)

    def pieces(self) -> Iterator[list[Piece]]:
        """Reads on; yields what is found each time that it got on.

        Raises:
            RangeOutsideSource: A clip is outside.
            TriptychError: See `AudioFile`.
        """
        for start, end in self._clips:
            self._channels = self._begun(start)
            for lot in self.file.between(start, end):
                pairs = zip(self._channels, lot, strict=True)
                found = [piece for channel, samples in pairs for piece in channel.add(samples)]
                if self._moved() or found:
                    yield _in_order(found)
            if self.file.length is not None:
                self._clips.check(self.file.length)
            found = [piece for channel in self._channels for piece in channel.rest()]
            self._moved()
            yield _in_order(found)
            self.speech += [stretch for channel in self._channels for stretch in channel.speech]
        if self.file.length is None and self.file.claimed is None:
            for _ in self.file.between(self.reached):
                pass

    @property
    def length(self) -> int:
        """Of the audio: as decoded, else as the file tells it, else as far as it was read."""
        return self.file.length or max(self.file.claimed or 0, self.reached)

    @property
    def asked(self) -> int:
        """How much is asked for; 0: unknown."""
        known = self.file.length is not None or self.file.claimed is not None
        return self._clips.before(self.length) if known else 0

    def asked_before(self, place: int) -> int:
        """Gives how much of what is asked for is before a place."""
        return self._clips.before(place)

    def window_count(self) -> int:
        """Gives how many windows there will be in all, if as much is speech in what comes as in the clip so far."""
        spoken = sum(stretch.end - stretch.start for channel in self._channels for stretch in channel.speech)
        searched = self.asked_before(min(channel.searched for channel in self._channels))
        share = max(1.0, self.asked / searched) if searched else 1.0
        return math.ceil(spoken * share / WINDOW_SAMPLES)

    def _begun(self, start: int) -> Sequence[Channel]:
        if not self.file.separate:
            return [Channel(self._cutter(start), Packer())]
        rows = range(self.file.channel_count)
        return [Channel(self._cutter(start), Packer(row, _MAX_SPAN_SAMPLES)) for row in rows]

    def _moved(self) -> bool:
        """Whether no more windows begin before a place that was not known as such yet."""
        before, self.reached = self.reached, max(self.reached, min(channel.reached for channel in self._channels))
        return self.reached > before


def _in_order(pieces: Sequence[Piece]) -> list[Piece]:
    return sorted(pieces, key=lambda piece: piece.window.start)
