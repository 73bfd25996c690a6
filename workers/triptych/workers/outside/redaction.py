"""Takes out of a prompt what its rule forbids to leave: places of pages, and words that match a pattern."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from triptych.core.errors import EgressDenied
from triptych.core.policy import Box, Rule
from triptych.v1.ocr_pb2 import OcrPage, TextLine
from triptych.workers.engines.generation import Part, Pixels, Prompt

REDACTED = "[redacted]"
# Recognition knows where a word is to about half a character: so much of the line's height is painted around it.
_MARGIN = 0.35
# Edges of a part of a page are whole pixels: a place of the page is that much elsewhere in it, at most.
_ROUNDING_PX = 2

ReadPages = Callable[[Sequence[Pixels]], Sequence[OcrPage]]


def redacted(prompt: Prompt, rule: Rule, crops: Sequence[Box], read_pages: ReadPages) -> tuple[Prompt, int]:
    """Gives the prompt as it may leave, and how many places were taken out.

    Args:
        prompt: As it was asked.
        rule: Says what may not leave.
        crops: Which part of its page each image is, in order.
        read_pages: Recognizes the words of images.

    Raises:
        EgressDenied: It cannot be made sure: a page was not read, or what matches stands where it cannot be taken out.
    """
    if len(crops) != len(prompt.images()):
        raise EgressDenied("it is not known which parts of their pages the images are, so none leaves")
    if matched(prompt.stop_sequences, rule):
        raise EgressDenied("a stop sequence matches a pattern that the policy redacts")
    pages = iter(read_pages(prompt.images()) if rule.redact_patterns and prompt.images() else ())
    places, count, turns = iter(crops), 0, []
    for role, parts in prompt.turns:
        kept: list[Part] = []
        for part in parts:
            cleaned: Part
            if isinstance(part, str):
                cleaned, found = _without_matches(part, rule)
            else:
                boxes = [*_boxes_within(rule.redact_boxes, next(places))]
                boxes += _boxes_of_matches(next(pages), rule, part.shape[:2]) if rule.redact_patterns else []
                cleaned, found = _painted(part, boxes), len(boxes)
            kept.append(cleaned)
            count += found
        turns.append((role, tuple(kept)))
    return replace(prompt, turns=tuple(turns)), count


def _without_matches(text: str, rule: Rule) -> tuple[str, int]:
    spans = _spans(text, rule)
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return REDACTED.join(text[end:start] for end, start in zip(ends, starts, strict=True)), len(spans)


def _spans(text: str, rule: Rule) -> list[tuple[int, int]]:
    """Gives the parts of a text that patterns match, in order, none within another.

    All patterns see the text as it is: after one has taken out its part, another might not match any more.
    """
    # A match may go over the end of a line: it is also looked for as if lines were one.
    texts = (text, text.replace("\n", " ").replace("\r", " "))
    found = {match.span() for each in texts for pattern in rule.redact_patterns for match in pattern.finditer(each)}
    spans: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if spans and start < spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        elif start < end:
            spans.append((start, end))
    return spans


def _boxes_within(boxes: Sequence[Box], crop: Box) -> Iterator[Box]:
    """Yields boxes of a page in the frame of a part of it; those outside of it are left out."""
    left, top, right, bottom = crop
    for x_min, y_min, x_max, y_max in boxes:
        if x_min < right and x_max > left and y_min < bottom and y_max > top:
            width, height = right - left, bottom - top
            yield (x_min - left) / width, (y_min - top) / height, (x_max - left) / width, (y_max - top) / height


def _boxes_of_matches(page: OcrPage, rule: Rule, shape: Sequence[int]) -> list[Box]:
    if page.HasField("error"):
        raise EgressDenied("an image could not be read, so what the policy redacts in it is not known")
    return [
        _grown(box, shape)
        for start, end in _spans(page.text, rule)
        for line in page.lines
        if line.text_start < end and line.text_end > start
        for box in _places(line, start - line.text_start, end - line.text_start)
    ]


def _places(line: TextLine, start: int, end: int) -> Iterator[Box]:
    """Yields where the words lie that a span of a line touches; the whole line if its words are not known."""
    at = 0
    found: list[Box] = []
    for word in line.words:
        begins = line.text.find(word.text, at)
        if begins < 0 or not word.polygon:
            found = []
            break
        at = begins + len(word.text)
        if begins < end and at > start:
            found.append(_bounds(word.polygon))
    yield from found or [_bounds(line.polygon)]


def _bounds(polygon: Sequence[float]) -> Box:
    if len(polygon) < 4:
        raise EgressDenied("it is not known where a word stands that the policy redacts")
    xs, ys = polygon[::2], polygon[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _grown(box: Box, shape: Sequence[int]) -> Box:
    height, width = shape
    x_min, y_min, x_max, y_max = box
    # The smaller side is the height of the letters, whichever way the page is turned.
    margin = _MARGIN * min((x_max - x_min) * width, (y_max - y_min) * height)
    return x_min - margin / width, y_min - margin / height, x_max + margin / width, y_max + margin / height


def _painted(pixels: Pixels, boxes: Sequence[Box]) -> Pixels:
    if not boxes:
        return pixels
    height, width = pixels.shape[:2]
    painted = pixels.copy()
    for x_min, y_min, x_max, y_max in boxes:
        # Outwards: what a box only touches goes too.
        top, left = math.floor(y_min * height) - _ROUNDING_PX, math.floor(x_min * width) - _ROUNDING_PX
        bottom, right = math.ceil(y_max * height) + _ROUNDING_PX, math.ceil(x_max * width) + _ROUNDING_PX
        painted[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 0
    return painted


def matched(texts: Sequence[str], rule: Rule) -> bool:
    """Whether one of the texts has what the policy redacts."""
    return any(_spans(text, rule) for text in texts)


def schema_matched(schema: str, rule: Rule) -> bool:
    """Whether a JSON Schema (empty: there is none) has what the policy redacts: as it was written or as it is sent."""
    if not schema or not rule.redact_patterns:
        return False
    loaded = json.loads(schema)
    return matched([schema, json.dumps(loaded, ensure_ascii=False), *_strings(loaded)], rule)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for child in itertools.chain(value, value.values()) if isinstance(value, dict) else ():
        yield from _strings(child)
    for child in value if isinstance(value, list) else ():
        yield from _strings(child)
