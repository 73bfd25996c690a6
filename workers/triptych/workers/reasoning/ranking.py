"""Scores texts against a question by the words that they share."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from triptych.workers.reasoning.terms import content_terms

# Okapi BM25's usual constants (Robertson and Zaragoza, 2009).
K1, B = 1.2, 0.75
# A question for an amount or a date prefers passages that have one, whatever the words.
_ASKS_AMOUNT = re.compile(
    r"\b(how much|amount|total|sum|price|cost|charges?|balance|tax|fee|paid|betrag|prix)\b", re.IGNORECASE
)
_ASKS_DATE = re.compile(r"\b(when|date|day|year|month|deadline|due|wann|datum|quand)\b", re.IGNORECASE)
_AMOUNT = re.compile(r"[$€£¥₹]\s?\d|\d[.,]\d\d\b")
_DATE = re.compile(r"\b(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|(19|20)\d\d)\b")


def text_terms(text: str) -> Mapping[str, int]:
    """Gives the search terms of a text and how often each stands in it."""
    return _counted(text, amount=_AMOUNT.search(text) is not None, date=_DATE.search(text) is not None)


def bm25(texts: Sequence[Mapping[str, int]], question: str) -> list[float]:
    """Scores texts against a question.

    Args:
        texts: Of each, what `text_terms` gives.
        question: As it was asked.
    """
    wanted = _counted(
        question,
        amount=_ASKS_AMOUNT.search(question) is not None,
        date=_ASKS_DATE.search(question) is not None,
    )
    lengths = [sum(bag.values()) for bag in texts]
    mean_length = max(1.0, sum(lengths) / max(1, len(texts)))
    idf = {}
    for term in wanted:
        holders = sum(term in bag for bag in texts)
        idf[term] = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
    return [
        sum(
            idf[term] * bag[term] * (K1 + 1) / (bag[term] + K1 * (1 - B + B * length / mean_length))
            for term in wanted
            if term in bag
        )
        for bag, length in zip(texts, lengths, strict=True)
    ]


def _counted(text: str, *, amount: bool, date: bool) -> Mapping[str, int]:
    bag = Counter(term.stem for term in content_terms(text))
    if amount:
        bag["<amount>"] = 1
    if date:
        bag["<date>"] = 1
    return bag
