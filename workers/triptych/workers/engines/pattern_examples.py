"""Texts that match the regular expressions of a grammar, for those who look for an ending.

A pattern without `^` may begin anywhere in a text. What may come next then is any character, whether a match has begun
or not, so a search that is told no more than that finds none; with an example of the pattern it finds one at once.
"""

from __future__ import annotations

import json
import re

from triptych.core.output_grammar import OutputGrammar, byte_matcher, regex_grammar
from triptych.workers.engines.shortest_ending import shortest_ending

MAX_PATTERNS = 32
# Any character, in a few of the ways in which it is written, and a run of it.
_ANY = r"(?:\.|\[\\s\\S\]|\[\\S\\s\]|\[\\w\\W\]|\[\\d\\D\]|\[\^[^\]\\]*\])"
_GROUP = rf"(?:{_ANY}|\((?:\?:)?{_ANY}(?:\|\\n|\|\\r)*\))"
# Where a pattern is cut; what is escaped is passed over.
_CUT = re.compile(rf"\\.|({_GROUP}[*+]\??|\^|\$)", re.DOTALL)
# What most likely ends something comes first.
_LIKELY = b'"}]0,:ntf[{-1a. '
_BYTES = (*_LIKELY, *(byte for byte in range(256) if byte not in _LIKELY))


def examples_of(grammar: OutputGrammar) -> list[bytes]:
    """Gives short texts that match the patterns of a grammar or parts of them, as they are written in its outputs."""
    parts = dict.fromkeys(part for pattern in grammar.patterns for part in _parts(pattern))
    found = (_example(part) for part in list(parts)[:MAX_PATTERNS])
    if not grammar.is_json:
        return [example.encode() for example in found if example]
    return [json.dumps(example, ensure_ascii=False)[1:-1].encode() for example in found if example]


def likely_bytes(mask: bytes) -> list[int]:
    """Gives the bytes of a bit mask, the likeliest to end something first."""
    bits = int.from_bytes(mask, "little")
    return [byte for byte in _BYTES if bits >> byte & 1]


def one_byte(symbol: int) -> bytes:
    """Gives a byte as text."""
    return bytes([symbol])


def _parts(pattern: str) -> list[str]:
    """What of a pattern has to be matched somewhere, all of it in a row first."""
    cut = _CUT.sub(lambda found: "\0" if found[1] else found[0], pattern)
    parts = [part for part in cut.split("\0") if part]
    return ["".join(parts), *parts] if parts else []


def _example(pattern: str) -> str:
    """A text that matches as a whole; empty if none was found: a part of an expression may be none."""
    try:
        matcher = byte_matcher(regex_grammar(pattern))
    except ValueError:
        return ""
    if matcher.is_error():
        return ""
    found = shortest_ending(matcher, likely_bytes, one_byte, None, straight=True)
    return bytes(found or ()).decode("utf-8", "ignore")
