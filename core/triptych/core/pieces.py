"""The pieces of a transcript that no cut may divide: words, and characters of scripts without blanks."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment

# Blanks at which a line may end: all but those made to prevent it.
_BLANKS = re.compile(r"[^\S\u00a0\u2007\u202f]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
# Scripts whose words have no blanks between: Thai, Lao, Burmese, Khmer, Chinese and Japanese. Korean has them.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\uff00-\uff9f\U00020000-\U0003ffff]"
)
# Letters that belong to the one before, or to the one behind.
_NEVER_FIRST = frozenset("ะาำๅๆฯະາຳໆ々〻ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ〜～\u200d")  # fmt: skip
_NEVER_LAST = frozenset("เแโใไເແໂໃໄ\u200d")
_QUOTES = "\"'”’»›)]）」』】》"
_SENTENCE_ENDS = tuple(".!?…。！？．؟۔।॥።၊။។")
_CLAUSE_ENDS = tuple(",;:–—、，；：،؛፣-")
_TITLES = frozenset({"Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "St.", "Sr.", "Jr.", "No.", "vs.", "Hr.", "Fr.", "Nr."})
SENTENCE, CLAUSE, NOTHING = 2, 1, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One of them.

    Attributes:
        width: In columns.
        spaced: Whether a blank stands before it.
        ending: What ends with it: SENTENCE, CLAUSE or NOTHING.
        start_ms, end_ms: Its time; none starts before the one before it.
    """

    text: str
    width: int
    spaced: bool
    ending: int
    start_ms: int
    end_ms: int
    speaker: str

    @property
    def leans(self) -> bool:
        """Whether it rather stands before something: short words are articles, prepositions and conjunctions."""
        return self.ending == NOTHING and self.width <= 3 and self.text.isalpha()


def clean(text: str) -> str:
    """Gives a text in one line: blanks of any kind once, no control characters."""
    return _BLANKS.sub(" ", _CONTROLS.sub("", text)).strip()


def unspaced(character: str) -> bool:
    """Whether it is of a script whose words have no blanks between."""
    return _UNSPACED.match(character) is not None


def width(text: str) -> int:
    """Gives the columns that a text takes: two for a wide character, none for a mark on another."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def pieces_by_channel(result: TranscriptionResult) -> Mapping[int | None, Sequence[Piece]]:
    """Gives the pieces of every channel, in the order in which they are said; times are mended to rise.

    Word times are used where there are any. Otherwise a segment's time is shared out by length.
    """
    found: dict[int | None, list[Piece]] = defaultdict(list)
    for segment in result.segments:
        said = found[segment.channel if segment.HasField("channel") else None]
        for piece in _pieces(segment, said[-1] if said else None):
            said.append(piece)
    return found


def _pieces(segment: TranscriptSegment, last: Piece | None) -> Iterator[Piece]:
    text = clean(segment.text)
    words = _words(segment, text)
    spans = list(_spans(text, words))
    now_ms = last.start_ms if last else 0
    before = last.text if last else ""
    timed = _told(spans, words) if words else _shared(spans, text, segment)
    for number, ((start, end), (start_ms, end_ms, speaker)) in enumerate(zip(spans, timed, strict=True)):
        what = text[start:end]
        columns = width(what)
        if not columns or not what.strip():
            continue
        # Between segments the text has a blank or not as its script wants.
        blank = text[start - 1] == " " if start else not (before and _part(before[-1], what[0]))
        following = text[spans[number + 1][0]] if number + 1 < len(spans) else ""
        now_ms = max(now_ms, start_ms)
        yield Piece(
            text=what,
            width=columns,
            spaced=blank,
            ending=_ending(what, following),
            start_ms=now_ms,
            end_ms=max(now_ms, end_ms),
            speaker=clean(speaker or segment.speaker)[:64],
        )


def _words(segment: TranscriptSegment, text: str) -> list[tuple[int, int, int, int, str]]:
    """Gives the words as (start and end in the text, start_ms, end_ms, speaker); none if they are not the text's."""
    found, at = [], 0
    for word in segment.words:
        said = clean(word.text)
        start = text.find(said, at)
        if start < 0 or _speech(text[at:start]):
            return []
        at = start + len(said)
        found.append((start, at, word.start_ms, word.end_ms, word.speaker))
    return [] if _speech(text[at:]) else found


def _speech(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _spans(text: str, words: Sequence[tuple[int, int, int, int, str]]) -> Iterator[tuple[int, int]]:
    """Yields where pieces start and end: at blanks, and between characters that may part and are not of one word."""
    if text.isascii():
        yield from (word.span() for word in re.finditer("[^ ]+", text))
        return
    inner = iter([*((start, end) for start, end, *_ in words), (len(text), len(text))])
    word_start, word_end = next(inner)
    start = 0
    for at, (before, after) in enumerate(pairwise(text), 1):
        while word_end <= at and word_end < len(text):
            word_start, word_end = next(inner)
        if before == " ":
            start = at
        elif after == " " or (_part(before, after) and not word_start < at < word_end):
            yield start, at
            start = at
    if text:
        yield start, len(text)


def _part(before: str, after: str) -> bool:
    """Whether a line may end between two characters without a blank between."""
    if before.isascii() and after.isascii():
        return False
    if after in _NEVER_FIRST or before in _NEVER_LAST:
        return False
    if not (_UNSPACED.match(before) or _UNSPACED.match(after)):
        return False
    # Marks stay with their letter, punctuation with what it closes or opens.
    return unicodedata.category(after) not in {"Mn", "Mc", "Me", "Cf", "Pe", "Pf", "Po", "Pd"} and unicodedata.category(
        before
    ) not in {"Ps", "Pi"}


def _told(
    spans: Sequence[tuple[int, int]], words: Sequence[tuple[int, int, int, int, str]]
) -> Iterator[tuple[int, int, str]]:
    """Yields (start_ms, end_ms, speaker) of pieces by the words that they are made of."""
    first = 0
    for start, end in spans:
        while first < len(words) - 1 and words[first][1] <= start:
            first += 1
        last = first
        while last < len(words) - 1 and words[last + 1][0] < end:
            last += 1
        yield words[first][2], words[last][3], words[first][4]
        first = last


def _shared(spans: Sequence[tuple[int, int]], text: str, segment: TranscriptSegment) -> Iterator[tuple[int, int, str]]:
    """Yields (start_ms, end_ms, speaker) of pieces, the segment's time shared out by length."""
    total = max(1, sum(1 + width(text[start:end]) for start, end in spans))
    lasts_ms, done = max(0, segment.end_ms - segment.start_ms), 0
    for start, end in spans:
        begun, done = done, done + 1 + width(text[start:end])
        yield segment.start_ms + lasts_ms * begun // total, segment.start_ms + lasts_ms * done // total, ""


def _ending(text: str, following: str) -> int:
    bare = text.rstrip(_QUOTES)
    if bare.endswith(_SENTENCE_ENDS):
        # An abbreviation or an initial, as far as one can tell.
        short = bare in _TITLES or (len(bare) == 2 and bare[0].isupper())
        return NOTHING if bare.endswith(".") and (short or following.islower()) else SENTENCE
    return CLAUSE if bare.endswith(_CLAUSE_ENDS) or not following else NOTHING


@lru_cache(maxsize=65536)
def _columns(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
