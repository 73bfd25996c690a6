"""Finds a short way to end what a grammar has begun."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from triptych.workers.engines.json_shape import JsonShape

# Of a state the likeliest symbols are tried first.
_FIRST = 6
_MAX_OTHERS = 256
# So many symbols are words that begin differently, more are any character.
_FEW = 16
_QUOTE = 0x22
_JSON_BLANKS = frozenset(b" \n\r\t")
_JSON_CLOSING = frozenset(b"}]")
# Symbols, the last one first.
_Path = tuple[Any, int] | None


class Matcher(Protocol):
    """What llguidance's matchers do, as far as it is needed here."""

    def deep_copy(self) -> Matcher:
        """Gives a copy that goes on by itself."""

    def consume_token(self, sampled_token: int) -> bool:
        """Takes a symbol."""

    def validate_tokens(self, tokens: list[int]) -> int:
        """Says how many of these symbols may come next, one after the other."""

    def is_accepting(self) -> bool:
        """Whether the text may end here."""

    def compute_bitmask(self) -> bytes:
        """Gives a bit for each symbol that may come next."""


@dataclass(frozen=True, slots=True)
class _State:
    """A text that was tried: where it stands, what may come next (empty: it may end), and how it was written."""

    matcher: Matcher
    mask: bytes
    shape: JsonShape | None
    detours: float
    path: _Path


# Estimate, minus the bytes so far, number, state, symbols that are still to be tried.
_Way = tuple[float, int, int, _State, list[int] | None]


@dataclass(frozen=True, slots=True)
class _Effort:
    """How the ways to go on are weighed against each other.

    Attributes:
        max_states: States that are looked at before giving up; one takes some 30 us with bytes.
        byte_cost: Of a byte, written or needed to close what is open.
        detour_cost: Of a symbol that is not the likeliest one.
        later_cost: Of one that is not among the likeliest ones.
        max_alike: States with the same choice of symbols that are looked at: more are a loop, or a long count.
    """

    max_states: int
    byte_cost: float
    detour_cost: float
    later_cost: float
    max_alike: int


# These follow the likeliest symbols as far as they can: fast, and what they find is mostly the shortest. The first one
# leaves a loop soon, the second one counts.
_STRAIGHT = (
    _Effort(max_states=300, byte_cost=0, detour_cost=4, later_cost=8, max_alike=4),
    _Effort(max_states=400, byte_cost=0, detour_cost=4, later_cost=8, max_alike=60),
)
# The A* search: finds what is truly short.
_SHORT = _Effort(max_states=1000, byte_cost=1, detour_cost=0, later_cost=8, max_alike=60)
# For what takes thousands of bytes: a fifth of a second.
_LONG = _Effort(max_states=4000, byte_cost=0, detour_cost=4, later_cost=8, max_alike=4000)


def shortest_ending(
    matcher: Matcher,
    allowed: Callable[[bytes], list[int]],
    data_of: Callable[[int], bytes],
    shape: JsonShape | None,
    examples: Sequence[bytes] = (),
    *,
    enough: int = 0,
    straight: bool = False,
) -> list[int] | None:
    """Gives symbols after which the text may end, nearly as few bytes as possible.

    Where many symbols may come, those after which the same ones may come are taken for one: nearly always they are, and
    the letters of a word are not tried one by one.

    Args:
        matcher: Where the text stands; left as it is.
        allowed: Symbols of a bit mask, the likeliest to end something first, without those that end a turn.
        data_of: Bytes of a symbol.
        shape: Of a JSON text, so far; the symbols are bytes then. None: the text is no JSON, or nobody knows.
        examples: Texts that may help where not every text ends; the symbols are bytes then.
        enough: An ending of so many symbols is short enough: a shorter one is not looked for.
        straight: Only the fast search is made: a few ms, with bytes.

    Returns:
        None if nothing was found with reasonable effort.
    """
    found = None
    for effort in _STRAIGHT:
        found = _search(matcher, allowed, data_of, shape, examples, effort) if found is None else found
    if straight:
        return found
    if found is None or len(found) > enough:
        shorter = _search(matcher, allowed, data_of, shape, examples, _SHORT)
        found = min((way for way in (shorter, found) if way is not None), key=len, default=None)
    return _search(matcher, allowed, data_of, shape, examples, _LONG) if found is None else found


def _search(
    matcher: Matcher,
    allowed: Callable[[bytes], list[int]],
    data_of: Callable[[int], bytes],
    shape: JsonShape | None,
    examples: Sequence[bytes],
    effort: _Effort,
) -> list[int] | None:
    order = itertools.count()
    seen: set[tuple[int, JsonShape | None, bytes]] = set()
    turns: Counter[tuple[JsonShape | None, bytes]] = Counter()
    heap: list[_Way] = []

    def add_examples(state: _State, size: int) -> bool:
        """Goes on by examples where that is possible, and the text or its string cannot end by itself."""
        shape = state.shape
        if shape and (shape.escaped or not shape.in_string or state.mask[_QUOTE >> 3] >> (_QUOTE & 7) & 1):
            return False
        fitting = [text for text in examples if state.matcher.validate_tokens(list(text)) == len(text)]
        for text in fitting:
            there, path = state.matcher.deep_copy(), state.path
            for symbol in text:
                there.consume_token(symbol)
                path = (path, symbol)
            cost = state.detours + effort.detour_cost / 8
            add(there, size + len(text), state.shape, cost, path, 1)
        return bool(fitting)

    def add(here: Matcher, size: int, shape: JsonShape | None, detours: float, path: _Path, one_of: int) -> None:
        """Puts a state among those to go on from, unless one like it is there."""
        # A text that may end is a state of its own: the mask does not always tell.
        mask = b"" if here.is_accepting() else here.compute_bitmask()
        if one_of > _FEW and (size, shape, mask) in seen:
            return
        seen.add((size, shape, mask))
        estimate = detours + effort.byte_cost * (size + (shape.open_count if shape else 0))
        # Of two states with the same estimate the longer text goes first: it is nearer to its end.
        heapq.heappush(heap, (estimate, -size, next(order), _State(here, mask, shape, detours, path), None))

    add(matcher.deep_copy(), 0, shape, 0.0, None, 1)
    for _ in range(effort.max_states):
        if not heap:
            return None
        estimate, minus_size, _, state, others = heapq.heappop(heap)
        if not state.mask:
            return _unwound(state.path)
        candidates, detours = others or allowed(state.mask), state.detours
        if others is None:
            if state.shape and not state.shape.in_string:
                candidates = [symbol for symbol in candidates if symbol not in _JSON_BLANKS]
                candidates.sort(key=lambda symbol: symbol not in _JSON_CLOSING)
            if len(candidates) > 1:
                if turns[state.shape, state.mask] == effort.max_alike:
                    continue
                turns[state.shape, state.mask] += 1
            helped = add_examples(state, -minus_size)
            rest = candidates[_FIRST : _FIRST + _MAX_OTHERS]
            ascii_rest = [symbol for symbol in rest if data_of(symbol)[:1] < b"\x80"]
            # Other scripts come last: each has its own first bytes.
            foreign = rest[len(ascii_rest) :] if ascii_rest else []
            for more, cost in ((ascii_rest or rest, effort.later_cost), (foreign, 4 * effort.later_cost)):
                if more:
                    late = replace(state, detours=detours + cost)
                    heapq.heappush(heap, (estimate + cost, minus_size, next(order), late, more))
            one_of, candidates = len(candidates), candidates[:_FIRST]
        else:
            helped = False
            one_of = _FIRST + len(others)
        for rank, symbol in enumerate(candidates):
            there = state.matcher.deep_copy()
            if there.consume_token(symbol):
                data = data_of(symbol)
                next_shape = state.shape.after(data) if state.shape else None
                cost = detours + (effort.detour_cost if (rank or helped) and others is None else 0)
                # The first bytes of characters of other scripts look alike until the second one.
                likes = 1 if data[:1] > b"\xc1" else one_of
                add(there, len(data) - minus_size, next_shape, cost, (state.path, symbol), likes)
    return None


def _unwound(path: _Path) -> list[int]:
    symbols = []
    while path:
        path, symbol = path
        symbols.append(symbol)
    return symbols[::-1]
