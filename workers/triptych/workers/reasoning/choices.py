"""Says which of a few choices words of a document name, and whether they say yes or no."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from rapidfuzz import fuzz, process

from triptych.core.schema_values import Leaf
from triptych.workers.reasoning.folding import Folded
from triptych.workers.reasoning.habits import Habits
from triptych.workers.reasoning.value_readers import Normal, number_in

# A choice may be spelled a little differently; below this it is another word (Levenshtein ratio, 0 to 100).
_CHOICE_RATIO = 85
_YES = frozenset(["yes", "y", "true", "ja", "oui", "si", "sí", "x", "✓", "✔", "☑", "☒", "checked", "sim"])
_NO = frozenset(["no", "n", "false", "nein", "non", "nee", "não", "☐", "unchecked", "not"])


def boolean_in(text: str, _leaf: Leaf, _habits: Habits) -> Iterator[Normal]:
    """Yields what the text begins with: yes or no."""
    words = re.findall(r"\w+|[^\w\s]", text.casefold())
    first = next((word for word in words if word in _YES or word in _NO), "")
    if first and words.index(first) <= 1:
        yield Normal(value=first in _YES, start=0, end=len(text))


def choice_in(text: str, leaf: Leaf, habits: Habits) -> Iterator[Normal]:
    """Yields the choices that the text names: as it stands, among other words, or misspelled a little."""
    whole = {"start": 0, "end": len(text)}
    numbers = [one for one in leaf.choices if isinstance(one, int | float) and not isinstance(one, bool)]
    if numbers:
        yield from (found for found in number_in(text, leaf, habits) if found.value in numbers)
    if any(isinstance(choice, bool) for choice in leaf.choices):
        yield from (found for found in boolean_in(text, leaf, habits) if found.value in leaf.choices)
    labels, lengths = _labels(leaf.choices)
    wanted = _folded(text)
    if not (labels and wanted):
        return
    if wanted in labels:
        yield Normal(value=labels[wanted], **whole)
        return
    # One of the choices among other words, not within another choice.
    words = wanted.split()
    runs = {" ".join(words[at : at + length]) for length in lengths for at in range(len(words) - length + 1)}
    named = {label for label in runs if label in labels}
    named = {label for label in named if not any(label != other and label in other for other in named)}
    for label in named or _near(wanted, labels):
        yield Normal(value=labels[label], certainty=1.0 if named else 0.8, **whole)


@lru_cache(maxsize=256)
def _labels(choices: tuple[Any, ...]) -> tuple[dict[str, str], tuple[int, ...]]:
    """Gives the choices that are words, by what they are compared by, and how many words these have."""
    labels = {_folded(choice): choice for choice in choices if isinstance(choice, str)}
    return labels, tuple({len(label.split()) for label in labels if label})


def _near(wanted: str, labels: Mapping[str, str]) -> list[str]:
    near = process.extract(wanted, list(labels), scorer=fuzz.ratio, score_cutoff=_CHOICE_RATIO, limit=2)
    return [label for label, _, _ in near]


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", " ", _spaced(text)).strip()


def _spaced(text: str) -> str:
    return " ".join(Folded(word).text for word in re.sub(r"_", " ", text).split())
