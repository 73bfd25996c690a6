"""Finds the items of a list in its lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from triptych.core.pages_paragraphs import flowing

# A hyphen or dash counts only with a blank behind it: "-5" is a number.
_BULLET = re.compile(r"(?:[•‣▪▫◦●○■□◆◇➢➤►▶✓✔·∙⁃]\s*|[-–—*+o]\s+)(?=\S)")
_NUMBER = re.compile(r"\(?(\d{1,3})[.)]\s+(?=\S)")
_LETTER = re.compile(r"\(?[A-Za-z][.)]\s+(?=\S)|\([ivxIVX]{1,4}\)\s+(?=\S)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item; without its bullet or number, but with a letter: no markup has those."""

    text: str
    number: int | None = None


def begins_item(text: str) -> bool:
    """Whether a line begins with a bullet, a number or a letter as items of lists do."""
    text = text.strip()
    return any(mark.match(text) for mark in (_BULLET, _NUMBER, _LETTER))


def items_of(texts: Sequence[str]) -> list[Item]:
    """Gives the items of a list; what stands before the first mark is an item, too.

    Args:
        texts: Its lines, in reading order.
    """
    groups: list[list[str]] = []
    for text in texts:
        if groups and not begins_item(text):
            groups[-1].append(text)
        else:
            groups.append([text])
    return [_item(flowing(group)) for group in groups]


def _item(text: str) -> Item:
    if mark := _NUMBER.match(text):
        return Item(text=text[mark.end() :], number=int(mark[1]))
    if mark := _BULLET.match(text):
        return Item(text=text[mark.end() :])
    return Item(text=text)
