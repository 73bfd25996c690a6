"""Writes the speakers into a transcript."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord
from triptych.workers.speakers.turns import Turn

Turns = Mapping[int, Sequence[Turn]]
"""Turns of every channel, in time order; channel 0 where there is one transcript of all."""


def label(result: TranscriptionResult, turns: Turns) -> None:
    """Says of every segment and word who speaks; a segment with words is cut where the speaker changes within.

    The text stays as it is: the pieces of a segment are parts of it. Speakers are "S1", "S2", ... by first appearance;
    those of different channels are different people.

    Args:
        result: Whole; its segments are changed in place.
        turns: Who speaks when.
    """
    names = _names(turns)
    timelines = {channel: _Timeline(own) for channel, own in turns.items() if own}
    pieces: list[TranscriptSegment] = []
    for segment in result.segments:
        channel = segment.channel
        if channel not in timelines:
            pieces.append(segment)
        elif segment.words:
            pieces += _cut(segment, [names[channel, timelines[channel].speaker(word)] for word in segment.words])
        else:
            segment.speaker = names[channel, timelines[channel].speaker(segment)]
            pieces.append(segment)
    for index, piece in enumerate(pieces):
        piece.index = index
    del result.segments[:]
    result.segments.extend(pieces)


def _names(turns: Turns) -> dict[tuple[int, int], str]:
    """Gives "S1", ... by (channel, speaker)."""
    spoken = sorted((turn.start_ms, channel, turn.speaker) for channel, own in turns.items() for turn in own)
    names: dict[tuple[int, int], str] = {}
    for _, channel, speaker in spoken:
        names.setdefault((channel, speaker), f"S{len(names) + 1}")
    return names


class _Timeline:
    """The turns of one channel, looked up by time."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = turns
        self._ends_ms = [turn.end_ms for turn in turns]

    def speaker(self, said: TranscriptSegment | TranscriptWord) -> int:
        """Gives who speaks most of the time; where nobody was heard, whoever is nearest."""
        first = bisect_right(self._ends_ms, said.start_ms)
        end = bisect_left(self._turns, said.end_ms, first, key=lambda turn: turn.start_ms)
        shares: dict[int, int] = {}
        for turn in self._turns[first:end]:
            overlap_ms = min(turn.end_ms, said.end_ms) - max(turn.start_ms, said.start_ms)
            shares[turn.speaker] = shares.get(turn.speaker, 0) + overlap_ms
        if shares:
            return max(shares, key=shares.__getitem__)
        before, after = self._turns[max(0, first - 1)], self._turns[min(first, len(self._turns) - 1)]
        is_before = said.start_ms - before.end_ms < after.start_ms - said.end_ms
        return before.speaker if is_before or before is after else after.speaker


def _cut(segment: TranscriptSegment, speakers: Sequence[str]) -> list[TranscriptSegment]:
    """Gives the pieces of a segment, one for each row of words of one speaker."""
    for word, speaker in zip(segment.words, speakers, strict=True):
        word.speaker = speaker
    runs = [list(run) for _, run in groupby(segment.words, key=lambda word: word.speaker)]
    starts = list(_starts(segment.text, runs))
    if len(starts) != len(runs):  # the words are not those of the text: it stays whole
        segment.speaker = max(set(speakers), key=speakers.count)
        return [segment]
    starts[0] = 0
    pieces = []
    for run, start, end in zip(runs, starts, [*starts[1:], len(segment.text)], strict=True):
        piece = TranscriptSegment()
        piece.CopyFrom(segment)
        piece.speaker = run[0].speaker
        piece.text = segment.text[start:end].rstrip()
        piece.text_start = segment.text_start + start
        piece.text_end = piece.text_start + len(piece.text)
        piece.start_ms = segment.start_ms if start == 0 else run[0].start_ms
        piece.end_ms = segment.end_ms if end == len(segment.text) else run[-1].end_ms
        del piece.words[:]
        piece.words.extend(run)
        pieces.append(piece)
    return pieces


def _starts(text: str, runs: Sequence[Sequence[TranscriptWord]]) -> Iterator[int]:
    """Yields where in the text each run begins, as far as its words are found there."""
    at = 0
    for run in runs:
        for number, word in enumerate(run):
            at += len(text[at:]) - len(text[at:].lstrip())
            if not text.startswith(word.text, at):
                return
            if number == 0:
                yield at
            at += len(word.text)
