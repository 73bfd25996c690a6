"""Cuts a transcript into subtitle cues as subtitle editors expect them.

A sentence has its own cue. One that would be too short for reading goes together with its neighbour, one that is too
long is cut near the middle, rather at a clause's end or a pause. A change of speaker or a long pause always ends a cue.
Defaults and rules follow the guidelines of the BBC (https://www.bbc.co.uk/accessibility/forproducts/guides/subtitles)
and of Netflix (https://partnerhelp.netflixstudios.com, "Timed Text Style Guide").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

from triptych.core.cue_lines import Line, PieceRow
from triptych.core.pieces import CLAUSE, SENTENCE, Piece, pieces_by_channel, width
from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.v1.transcription_service_pb2 import CueRules

LONG_PAUSE_MS = 1000
"""Silence over which no cue is held."""
PAUSE_MS = 250
"""Silence at which a sentence is rather cut than elsewhere."""
FRAME_MS = 40
"""Shortest cue, however little room there is."""
# What a cut is worth, against how far it is from the middle (0 to 1).
_CLAUSE_WORTH, _PAUSE_WORTH, _LEANING_COST = 0.35, 0.2, 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`CueRules` with the defaults filled in."""

    line_length: int = 42
    line_count: int = 2
    max_ms: int = 7000
    min_ms: int = 1000
    show_speakers: bool = False

    @classmethod
    def of(cls, rules: CueRules) -> Limits:
        """Reads the rules; they are in range."""
        longest = rules.max_duration_ms or cls().max_ms
        return cls(
            line_length=rules.max_line_length or cls().line_length,
            line_count=rules.max_line_count or cls().line_count,
            max_ms=longest,
            min_ms=min(longest, rules.min_duration_ms if rules.HasField("min_duration_ms") else cls().min_ms),
            show_speakers=rules.show_speakers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One subtitle.

    Attributes:
        start_ms: From the beginning of the audio.
        end_ms: Exclusive; above `start_ms`.
        lines: At least one, none of them empty.
        label: Who speaks: channel, speaker or both; empty if that is not known or not to be shown.
    """

    start_ms: int
    end_ms: int
    lines: Sequence[str]
    label: str


def cues(result: TranscriptionResult, rules: CueRules) -> list[Cue]:
    """Gives the cues by their start. Those of one channel never overlap; those of different channels may.

    No word is cut: a line that is longer than the rules say holds nothing but one word.

    Args:
        result: A transcript; times that are no order are mended.
        rules: In range.
    """
    limits = Limits.of(rules)
    found: list[Cue] = []
    for channel, pieces in pieces_by_channel(result).items():
        drafts = [cue for run in _runs(pieces) for cue in _cut(run, label_of(channel, run[0].speaker, rules), limits)]
        found += _timed(drafts, limits, result.audio_duration_ms)
    return sorted(found, key=lambda cue: (cue.start_ms, cue.end_ms))


def label_of(channel: int | None, speaker: str, rules: CueRules) -> str:
    """Gives what says who speaks: the channel wherever channels were kept apart, the speaker if that is asked for."""
    names = [] if channel is None else [f"Channel {channel}"]
    return ", ".join([*names, speaker] if speaker and rules.show_speakers else names)


def _runs(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    """Yields what one speaker says without a long pause."""
    start = 0
    for at, (before, piece) in enumerate(pairwise(pieces), 1):
        if before.speaker != piece.speaker or piece.start_ms - before.end_ms > LONG_PAUSE_MS:
            yield pieces[start:at]
            start = at
    if pieces:
        yield pieces[start:]


def _cut(run: Sequence[Piece], label: str, limits: Limits) -> Iterator[Cue]:
    """Yields the cues of a run with the times of its pieces."""
    row = PieceRow(run, limits.line_length, limits.line_count, indent=width(label) + 2 if label else 0)

    def fits(start: int, end: int) -> bool:
        return run[end - 1].end_ms - run[start].start_ms <= limits.max_ms and row.fits(start, end)

    def starved(start: int, end: int) -> bool:
        """Whether what comes next leaves it no time to be read."""
        return end < len(run) and run[end].start_ms - run[start].start_ms < limits.min_ms

    def split(start: int, end: int) -> Iterator[Line]:
        if end - start == 1 or fits(start, end):
            yield start, end
        else:
            middle = _middle(run, row, start, end, limits)
            yield from split(start, middle)
            yield from split(middle, end)

    joined: list[Line] = []
    for start, end in _sentences(run):
        if joined and (starved(*joined[-1]) or starved(start, end)) and fits(joined[-1][0], end):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    for sentence in joined:
        for start, end in split(*sentence):
            yield Cue(
                start_ms=run[start].start_ms, end_ms=run[end - 1].end_ms, lines=row.lines(start, end), label=label
            )


def _sentences(run: Sequence[Piece]) -> Iterator[Line]:
    start = 0
    for at, piece in enumerate(run, 1):
        if piece.ending == SENTENCE or at == len(run):
            yield start, at
            start = at


def _middle(run: Sequence[Piece], row: PieceRow, start: int, end: int, limits: Limits) -> int:
    """Gives where to cut what is too long into parts that are about equal."""
    total, room = row.width(start, end), limits.line_length * limits.line_count
    lasts_ms = run[end - 1].end_ms - run[start].start_ms
    parts = max(2, math.ceil(total / room), math.ceil(lasts_ms / limits.max_ms))
    wanted = total * (parts // 2) / parts

    def cost(at: int) -> float:
        pause = run[at].start_ms - run[at - 1].end_ms >= PAUSE_MS
        last = run[at - 1]
        off = abs(row.width(start, at) - wanted) / max(1, total)
        worth = _CLAUSE_WORTH * (last.ending >= CLAUSE) + _PAUSE_WORTH * pause
        return 2 * off - worth + _LEANING_COST * last.leans

    return min(row.around(start, end, wanted, reach=room), key=cost)


def _timed(drafts: Sequence[Cue], limits: Limits, audio_ms: int) -> Iterator[Cue]:
    """Yields the cues of a channel with the times at which they are shown: long enough to read, never overlapping."""
    shown_ms = 0
    for draft, following in zip_longest(drafts, drafts[1:]):
        start_ms = max(shown_ms, draft.start_ms)
        end_ms = max(draft.end_ms, start_ms + limits.min_ms)
        if audio_ms:
            end_ms = min(end_ms, max(audio_ms, draft.end_ms))
        if following:
            end_ms = min(end_ms, following.start_ms)
        shown_ms = max(start_ms + FRAME_MS, min(end_ms, start_ms + limits.max_ms))
        yield replace(draft, start_ms=start_ms, end_ms=shown_ms)
