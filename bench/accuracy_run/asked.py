"""Questions of a manifest, and such as cannot be answered: those of one document asked of another.

An item's `ground_truth.qa` is a list of `question`, `answers` (all that are right) and, where it is known, `kind`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accuracy_run.answer_scores import folded, stands_in
from accuracy_run.manifest import Item

# Words that nearly every question has.
_COMMON = frozenset({
    "a", "an", "and", "any", "are", "as", "at", "be", "by", "did", "do", "does", "for", "from", "had", "has",
    "have", "hoeveel", "how", "in", "is", "it", "its", "many", "much", "named", "of", "on", "or", "the",
    "there", "this", "to", "was", "were", "what", "when", "where", "which", "who", "whom", "whose", "will",
    "with", "er", "nodig", "zijn", "document", "invoice",
})  # fmt: skip
_ALIKE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question about one file.

    Attributes:
        id: Of the item, with the question's number.
        item: Whose file is asked.
        answers: All that are right; empty: the file does not say.
        kind: Such as "extractive", "key-field", "count"; may be empty.
    """

    id: str
    item: Item
    text: str
    answers: tuple[str, ...] = ()
    kind: str = ""


def questions(items: Sequence[Item]) -> list[Question]:
    """Gives the questions in the manifest's order."""
    return [
        Question(
            id=f"{item.id}#{number}",
            item=item,
            text=told["question"],
            answers=tuple(map(str, told["answers"])),
            kind=told.get("kind") or "",
        )
        for item in items
        for number, told in enumerate(item.truth.get("qa") or ())
    ]


def swapped(asked: Sequence[Question], items: Sequence[Item]) -> list[Question]:
    """Asks each question of another file that cannot answer it, as far as one can be found.

    It is the next one of its modality in the manifest's order, each question beginning at another one, in whose true
    text no right answer stands and at most half of the question's words do, and about which no question is asked that
    shares half of its words.
    """
    found = []
    for place, question in enumerate(asked):
        others = [one for one in items if one.modality == question.item.modality and one.truth.get("qa")]
        for other in _from(others, place):
            if other.id != question.item.id and _is_silent(other, question):
                found.append(Question(id=f"{question.id}@{other.id}", item=other, text=question.text, kind="swapped"))
                break
    return found


def _from(others: Sequence[Item], place: int) -> Iterator[Item]:
    for step in range(len(others)):
        yield others[(place + step) % len(others)]


def _is_silent(item: Item, question: Question) -> bool:
    text = item.true_text()
    if text is None or any(stands_in(folded(answer), folded(text)) for answer in question.answers):
        return False
    words = _words(question.text)
    return len(words & _words(text)) <= _ALIKE * len(words) and all(
        _shared(words, _words(other["question"])) < _ALIKE for other in item.truth["qa"]
    )


def _shared(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, min(len(one), len(other)))


def _words(text: str) -> set[str]:
    """Words without the plural's ending, so that "charges" is "charge"."""
    return {re.sub(r"(?<=..)s$", "", word) for word in re.findall(r"\w+", folded(text)) if word not in _COMMON}
