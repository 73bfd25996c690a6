"""Writes recognized pages as text for a language model, and shortens them where there are too many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from triptych.core.page_turns import turned
from triptych.v1.ocr_pb2 import OcrPage

NOTHING_READ = "(no text was recognized in this image)"
CUT = "\n[...]\n"
# Of a page that is too long, so much of what is kept comes from its beginning; the rest from its end.
HEAD_SHARE = 0.7

Turns = list[tuple[str, list[str]]]


class PageText(str):
    """Text that came out of an image: unlike a caller's words it may be shortened."""

    __slots__ = ()


def page_text(page: OcrPage) -> PageText:
    """Gives a page's text with lines that stand side by side, such as a label and its value, on one line.

    Args:
        page: Lines in reading order.
    """
    if not page.lines:
        return PageText(NOTHING_READ)
    quads = [turned(line.polygon, page.applied_rotation_degrees) for line in page.lines]
    pieces = [page.lines[0].text]
    for line, (before, quad) in zip(page.lines[1:], pairwise(quads), strict=True):
        pieces += ["  " if _beside(before, quad) else "\n", line.text]
    return PageText("".join(pieces))


def pages_read(turns: Turns) -> list[str]:
    """Gives the text of the pages in a conversation on which something was read."""
    return [part for _, parts in turns for part in parts if isinstance(part, PageText) and part != NOTHING_READ]


def chat_messages(turns: Turns) -> list[dict[str, str]]:
    """Gives the turns as chat templates want them, pages under a heading."""
    page_count = sum(isinstance(part, PageText) for _, parts in turns for part in parts)
    numbers = iter(range(1, page_count + 1))
    messages = []
    for role, parts in turns:
        written = [
            f"Document{f' {next(numbers)}' if page_count > 1 else ''}:\n{part}" if isinstance(part, PageText) else part
            for part in parts
        ]
        messages.append({"role": role, "content": "\n\n".join(written)})
    return messages


def shortened(text: PageText, tokenizer: Any, token_count: int) -> PageText:
    """Keeps the beginning and the end of a page, in so many tokens."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(offsets) <= token_count:
        return text
    head = int(token_count * HEAD_SHARE)
    tail = token_count - head
    head_end = offsets[head - 1][1] if head else 0
    tail_start = offsets[-tail][0] if tail else len(text)
    return PageText(text[:head_end] + CUT + text[tail_start:])


def fair_shares(lengths: list[int], budget: int) -> list[int]:
    """Divides a budget: what is short stays whole, the rest shares what is left alike."""
    shares = [0] * len(lengths)
    left = budget
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
    for position, index in enumerate(by_length):
        shares[index] = min(lengths[index], left // (len(lengths) - position))
        left -= shares[index]
    return shares


def _beside(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two quads stand in one row: they share half of the lower one's height."""
    if not one or not other:
        return False
    height = min(max(quad[1::2]) - min(quad[1::2]) for quad in (one, other))
    top = max(min(quad[1::2]) for quad in (one, other))
    bottom = min(max(quad[1::2]) for quad in (one, other))
    return bottom - top > 0.5 * height
