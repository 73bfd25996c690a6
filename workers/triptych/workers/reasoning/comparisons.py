"""Questions that compare documents: what has to be asked of each, and what is made of the answers.

English only: other languages are answered as any other question. Small models neither add nor compare what stands in
several documents, but find one value in one document well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


def _patterns(*sources: str) -> tuple[re.Pattern[str], ...]:
    """Compiles patterns of whole questions."""
    return tuple(re.compile(rf"{source}\W*", re.IGNORECASE) for source in sources)


ComparisonKind = Literal["sum", "same", "most", "least"]

# Of items, rows or persons one document has several: only what is a document itself is compared.
_NOUN = (
    r"(?:document|file|invoice|receipt|bill|letter|memo|note|contract|form|report|order|quote|offer|statement|ticket|"
    r"certificate|payslip|recording|call|image|picture|photo|scan|message|e-?mail|mail|article|paper)"
)
_ALL = (
    rf"(?:both|all|these|those|each of|the (?:two|three|four|five|six|seven|eight|nine|ten|\d+))"
    rf"(?: (?:the|these|those|of|two|three|four|five|six|seven|eight|nine|ten|\d+))*(?: \w+)? {_NOUN}s"
)
_OF = r"(?:of|on|in|from|across|for)"
_MOST = r"(?:highest|largest|biggest|greatest|latest|newest|most recent)"
_LEAST = r"(?:lowest|smallest|least|earliest|oldest)"
_HOW = rf"(?P<how>{_MOST}|{_LEAST})"
_SAME = _patterns(
    rf"(?:do|have) {_ALL}\b.*? (?:the same|an? (?:equal|identical)) (?P<what>.+?)",
    rf"(?:is|are) the (?P<what>.+?) {_OF} {_ALL} (?:the same|equal|identical)",
    rf"(?:is|are) the (?P<what>.+?) (?:the same|equal|identical) {_OF} {_ALL}",
)
_SUM = _patterns(
    rf"what (?:is|are) the (?:sum|total) of (?:all |the )*(?P<what>(?!both|these|those).+?) {_OF} {_ALL}",
    rf"what (?:is|are) the (?P<what>total(?: (?!of ).+?)?) {_OF} {_ALL}(?: together)?",
    rf"what (?:is|are) the combined (?P<what>.+?) {_OF} {_ALL}",
)
_EXTREME = _patterns(
    rf"(?P<rest>(?:which|what|who|whose|when|where)\b.*\b{_NOUN}) with the {_HOW} (?P<what>.+?)",
    rf"(?:which|what)(?: \w+)? {_NOUN} (?:has|have|had|shows?|states?) the {_HOW} (?P<what>.+?)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A question over several documents in parts.

    Attributes:
        kind: What is made of the values.
        each: What is asked of every document.
        rest: What is asked of the document that was picked; empty: which one it is.
    """

    kind: ComparisonKind
    each: str
    rest: str = ""


def comparison(question: str) -> Comparison | None:
    """Gives the parts of a question that compares documents; None if it is none."""
    asked = " ".join(question.split())
    kinds: tuple[tuple[Literal["same", "sum"], tuple[re.Pattern[str], ...]], ...] = (("same", _SAME), ("sum", _SUM))
    for kind, patterns in kinds:
        for pattern in patterns:
            if match := pattern.fullmatch(asked):
                return Comparison(kind=kind, each=_each(match["what"]))
    for pattern in _EXTREME:
        if match := pattern.fullmatch(asked):
            rest = f"{match['rest']}?" if "rest" in pattern.groupindex else ""
            most = re.fullmatch(_MOST, match["how"], re.IGNORECASE) is not None
            return Comparison(kind="most" if most else "least", each=_each(match["what"]), rest=rest)
    return None


def _each(what: str) -> str:
    """Asks for one value where the question has several: "totals" are a "total" each."""
    return f"What is the {re.sub(r'(?<=[^s])s$', '', what)}?"
