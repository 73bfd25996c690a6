"""Checks that a quote lies where it says, against the truth and against what was recognized there.

Manifests have true texts, not true boxes, so it is checked in two steps. The quote's words have to stand in the true
text of the file (or in an answer that the manifest has as right: true texts leave out what is in a picture), next to
each other, up to case, blanks, signs that look alike (l and I, o and 0), and one sign in eight that was recognized
wrongly. And the words whose centres lie in its polygon, on a page that the service recognizes anew for this, have to
spell the quote; of a recording, the words heard in its milliseconds.
"""

import math
from collections.abc import Iterable, Sequence

from accuracy_run.page_words import normalised
from rapidfuzz import fuzz

from triptych.v1.job_pb2 import JobResult
from triptych.v1.reasoning_pb2 import Evidence

# Likeness of 100 that counts as the same words.
SAME = 87.5
# Of a word's edges, in shares of the page: rounding.
_TOLERANCE = 0.002
_ALIKE = str.maketrans("i|0", "11o") | {ord("l"): "1"}


def lies_there(evidence: Evidence, true: str, recognized: JobResult) -> bool:
    """Whether the quote stands in the true text and at its place.

    Args:
        evidence: With a page or audio anchor.
        true: What stands in the file.
        recognized: What the service recognizes in it, with words.
    """
    return stands(evidence.quote, true) and spelled(evidence.quote, words_at(evidence, recognized))


def stands(quote: str, true: str) -> bool:
    """Whether the words of a quote stand together in a text."""
    wanted, text = _signs(quote), _signs(true)
    if not wanted or len(wanted) > len(text):
        return False
    return wanted in text or fuzz.partial_ratio(wanted, text) >= SAME


def spelled(quote: str, words: Sequence[str]) -> bool:
    """Whether words, in any order of lines, are those of a quote: no more and no less, up to halves of words."""
    wanted, found = _signs(quote), _signs(" ".join(words))
    if not wanted or not found:
        return False
    if fuzz.ratio(wanted, found) >= SAME:
        return True
    # A quote may be a part of what is recognized as one word.
    return len(words) == 1 and wanted in found


def words_at(evidence: Evidence, recognized: JobResult) -> list[str]:
    """Gives the recognized words whose centres lie in the evidence's place, in their order."""
    if evidence.HasField("audio"):
        clip = evidence.audio
        return [
            word.text
            for segment in recognized.transcription.segments
            for word in segment.words
            if clip.start_ms <= (word.start_ms + word.end_ms) / 2 <= clip.end_ms
        ]
    quad = evidence.page.polygon
    page = next((one for one in recognized.ocr.pages if one.page_number == evidence.page.page_number), None)
    if page is None or len(quad) < 8:
        return []
    words = [word for line in page.lines for word in line.words]
    centred = [word.text for word in words if _inside(_centre(word.polygon), quad)]
    # A part of a word has its own centre somewhere in the word.
    return centred or [word.text for word in words if _inside(_centre(quad), word.polygon)]


def _inside(point: tuple[float, float], quad: Sequence[float]) -> bool:
    """Whether a point lies in a convex polygon, whichever way it turns."""
    x, y = point
    corners = list(zip(quad[0::2], quad[1::2], strict=True))
    sides = [
        ((right - left) * (y - top) - (bottom - top) * (x - left)) / max(1e-9, math.hypot(right - left, bottom - top))
        for (left, top), (right, bottom) in zip(corners, [*corners[1:], corners[0]], strict=True)
    ]
    return all(side >= -_TOLERANCE for side in sides) or all(side <= _TOLERANCE for side in sides)


def _centre(quad: Iterable[float]) -> tuple[float, float]:
    values = list(quad)
    return sum(values[0::2]) / 4, sum(values[1::2]) / 4


def _signs(text: str) -> str:
    return "".join(char for char in normalised(text).translate(_ALIKE) if char.isalnum())
