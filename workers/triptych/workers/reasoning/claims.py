"""Cuts an answer into the claims that each need evidence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from triptych.workers.reasoning.prompts import tidy
from triptych.workers.reasoning.terms import content_terms

# Up to this many words an answer is one value.
_VALUE_WORDS = 12
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"“(])|(?<=[。！？])")
_ITEM = re.compile(r"[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+")
# What a reader of an answer takes for a citation.
_CITATION = re.compile(r"\[(e\d+)\]")
_COPULA = re.compile(r"\b(?:is|are|was|were|equals)\b|[:=]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One part of an answer that can be true or false alone.

    Attributes:
        start: Start in the answer's text, in code points.
        end: End, exclusive.
        text: The words.
    """

    start: int
    end: int
    text: str


def claims(answer: str) -> list[Claim]:
    """Gives the claims of an answer in order: its items, else its sentences; a short answer is one."""
    found: list[Claim] = []
    for line in re.finditer(r"[^\n]+", answer):
        item = _ITEM.match(line[0])
        start = line.start() + (item.end() if item else 0)
        body = answer[start : line.end()]
        cut = [0, *(m.end() for m in _SENTENCE_END.finditer(body)), len(body)]
        short = len(body.split()) <= _VALUE_WORDS
        for left, right in [(0, len(body))] if short else pairwise(cut):
            text = body[left:right].strip()
            if re.search(r"\w", text):
                at = start + left + (len(body[left:right]) - len(body[left:right].lstrip()))
                found.append(Claim(start=at, end=at + len(text), text=text))
    return found


def uncitable(text: str) -> str:
    """Gives words of a document or a model as long as they are, but citing nothing: "[e1]" is "(e1)"."""
    return _CITATION.sub(r"(\1)", text)


def forms(claim: str, question: str) -> Iterator[str]:
    """Yields what to look for, for a claim: its words, then its value without wrappers, label or sentence around."""
    seen: set[str] = set()
    for form in (claim, tidy(claim, question), claim.strip(" .,;:!?\"'“”„«»`*()[]"), _value(claim, question)):
        if form and form not in seen:
            seen.add(form)
            yield form


def _value(claim: str, question: str) -> str:
    """Gives what stands after "label:" or "the label is", if the label only repeats the question; else nothing."""
    match = _COPULA.search(claim)
    if match is None:
        return ""
    asked = {term.stem for term in content_terms(question)}
    named = {term.stem for term in content_terms(claim[: match.start()])}
    return claim[match.end() :].strip(" .,;:!?\"'“”„«»`*()[]") if named and named <= asked else ""
