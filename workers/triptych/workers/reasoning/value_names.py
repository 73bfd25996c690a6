"""What a value of a schema is called: the question to ask for it, and the words that label it in documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triptych.core.schema_values import Leaf, ListOf, Place
from triptych.workers.reasoning.vocabulary import own_words, words_of

# Least share of common words (Jaccard) of what is asked for and what labels it.
LIKE = 0.5
# A label in other words than what is wanted: all that is asked for, unless another one has the very words.
ALIKE = 0.95
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_\-\s./]+")
_MAX_QUESTION_WORDS = 40
# Signs that a question may have of a name, of a description, and of the choices.
_MAX_PHRASE, _MAX_TOLD, _MAX_CHOICES = 200, 600, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A value, as people would ask for it.

    Attributes:
        leaf: Of the schema.
        phrase: Short: "billing address city".
        question: What to ask for it.
        labels: Words by which a document may label it, as `words_of` gives them; each set alone is enough.
        own: The same as `own_words` gives them.
    """

    leaf: Leaf | ListOf
    phrase: str
    question: str
    labels: tuple[frozenset[str], ...]
    own: tuple[frozenset[str], ...]


def wanted(path: Sequence[str], leaf: Leaf | ListOf) -> Wanted:
    """Names the value at a path of property names."""
    own = readable(leaf)
    words = dict.fromkeys(word for part in (*path[:-1], own) for word in split_name(part).split())
    phrase = " ".join(words)[:_MAX_PHRASE]
    bare = [split_name(name) for name in (leaf.name, leaf.title) if name]
    # "city" of a billing address and of a delivery address: the label alone does not tell which.
    names = [f"{split_name(part)} {name}" for part in path[-2:-1] for name in bare] + bare
    return Wanted(
        leaf=leaf,
        phrase=phrase or "value",
        question=_question(leaf, phrase or "value"),
        labels=_labels(words_of, names),
        own=_labels(own_words, names),
    )


def _labels(read: Callable[[str], frozenset[str]], names: Sequence[str]) -> tuple[frozenset[str], ...]:
    """Gives the words that may label what is called so, without repetition."""
    labels = [read(name) for name in names]
    # "Tax 8.68" on a form is the amount of it; "amount" alone says which one just as little.
    labels += [words - read("amount") for words in labels]
    # "Excl. VAT" is said with two words.
    labels += [words | read("tax") for words in labels if words & read("untaxed")]
    return tuple(dict.fromkeys(label for label in labels if label))


def likeness(text: str, wanted: Wanted) -> float:
    """Gives how well a label names what is wanted, 0 to 1.

    The share of words that it has in common with the likest of the names, those that are alike being one; 1 if its own
    words are all of a name and nothing else, `ALIKE` at most if only words that are alike are.
    """
    words = words_of(text)
    like = max((len(words & names) / len(words | names) for names in wanted.labels), default=0.0) if words else 0.0
    return ALIKE if like == 1 and own_words(text) not in wanted.own else like


def readable(place: Place) -> str:
    """Gives what people would call a place."""
    return split_name(place.title or place.name)


def split_name(name: str) -> str:
    """Gives the words of a name: "dueDate", "due_date" and "due-date" are "due date"."""
    return " ".join(
        part if part.isupper() and len(part) > 1 else part.lower() for part in _CAMEL.split(name) if part.strip()
    )


def _question(leaf: Leaf | ListOf, phrase: str) -> str:
    told = " ".join(leaf.description.split()[:_MAX_QUESTION_WORDS])[:_MAX_TOLD].strip().rstrip(".")
    if told.endswith("?"):
        return told
    if isinstance(leaf, ListOf):
        return f"List every {told or phrase}, one a line."
    if leaf.kind == "boolean":
        return f"{told or phrase}: yes or no?"
    if leaf.kind == "choice":
        return f"What is the {phrase}{f' ({told})' if told else ''}: {_listed(leaf.choices)}?"
    if not told:
        return f"What is the {phrase}?"
    article = "" if re.match(r"(the|a|an|our|your|its)\b", told, re.IGNORECASE) else "the "
    return f"What is {article}{told[0].lower() if told[1:2].islower() else told[0]}{told[1:]}?"


def _listed(choices: Sequence[object]) -> str:
    """Names the choices; of very many the first, so that the form is clear."""
    text = ", ".join(map(str, choices))
    return text if len(text) <= _MAX_CHOICES else f"{text[:_MAX_CHOICES].rpartition(', ')[0]}, ..."
