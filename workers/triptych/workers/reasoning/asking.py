"""What a question asks for: the words of its subject, the form of its answer, and what to do with several values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from triptych.workers.reasoning.naming import named, share_named
from triptych.workers.reasoning.shapes import Shape, shape_asked
from triptych.workers.reasoning.terms import content_terms

_COUNT = re.compile(
    r"\bhow many\s+(?P<what>.+?)\s+(?:are|is|were|was|does|do|did|has|have)\b(?P<rest>.*)|"
    r"\b(?:what is the )?number of\s+(?P<items>rows|lines|entries|items)\b(?P<more>.*)",
    re.IGNORECASE,
)
_LISTED = re.compile(r"\b(listed|shown|there|in (?:the|this) (?:table|list))\b", re.IGNORECASE)
_ROWS = re.compile(r"(rows|lines|entries|(line )?items)", re.IGNORECASE)
_IN_TOTAL = re.compile(r"\b(in total|altogether|overall|combined)\b", re.IGNORECASE)
_SUM = re.compile(
    r"\b(?:total|sum|combined (?:amount|total))\s+(?:\w+\s+)?of\s+(?:all\s+|both\s+)?(?:the\s+)?"
    r"(?P<count>two|three|four|five|six|\d)?\s*(?P<what>.+?)\??$",
    re.IGNORECASE,
)
_MOST = re.compile(
    r"^(?:which|what|who)\b(?P<what>.*?)\b(?:has|have|had|with|is|was|were|got|costs?|earns?|shows?|uses?)\b.*?"
    r"\b(?P<extreme>most|highest|largest|biggest|greatest|maximum|longest|fewest|least|lowest|smallest|minimum|shortest"
    r"|cheapest|most expensive)\b\s*(?P<of>.*?)\??$",
    re.IGNORECASE,
)
_SMALL = frozenset({"fewest", "least", "lowest", "smallest", "minimum", "shortest", "cheapest"})
_BETWEEN = re.compile(
    r"\bhow many (?P<unit>days|weeks|months|years)\b.*\bbetween\s+(?P<from>.+?)\s+and\s+(?P<to>.+?)\??$", re.IGNORECASE
)
_YES_NO = re.compile(
    r"^(is|are|was|were|does|do|did|has|have|had|can|could|will|would|should)\b(?!.*\bor\b)", re.IGNORECASE
)
_IDENTIFIER = re.compile(r"\b(number|no\.|id|code|nr|nummer|reference)\b", re.IGNORECASE)
# What a label says before a value of a form, and that could as well be left out.
_NEUTRAL = {
    Shape.DATE: frozenset({"dat"}),
    Shape.AMOUNT: frozenset({"amount"}),
    Shape.NUMBER: frozenset({"number"}),
    Shape.PHONE: frozenset({"number"}),
    Shape.VAT_NUMBER: frozenset({"number"}),
    Shape.EMAIL: frozenset({"address"}),
}
# A subtotal is not always what is meant.
_SUBTOTAL_SHARE = 0.9
_SUMS = frozenset({"total", "untax", "subtotal"})
NUMBER_WORDS = frozenset({"number", "id", "cod", "nr", "nummer"})
# Forms call the amount before taxes a subtotal.
_UNTAXED = re.compile(
    r"\b(without|before|excluding|excl\.?|exclusive of|net of|ex)\s+(the\s+)?(tax|vat)\w*|"
    r"\b(untaxed|net) (amount|total)\b",
    re.IGNORECASE,
)
# What labels do not say, or say in fewer words.
_SAID_OTHERWISE = (
    (re.compile(r"\btotal (amount|sum|price|value)\b|\b(amount|sum) total\b", re.IGNORECASE), "total"),
    (re.compile(r"\b(of|on|in|for|from) (the|this) (invoice|receipt|document|form|bill|letter|page|card|licen[cs]e|"
                r"holder|person|statement|memo|report|slip)\b", re.IGNORECASE), ""),
    (re.compile(r"\b(the )?(holder|person|cardholder|owner)['’]s\b", re.IGNORECASE), ""),
    (re.compile(r"\bhow (heavy|tall|old|far|long)\b", re.IGNORECASE), ""),
)  # fmt: skip
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


@dataclass(frozen=True)
class Asking:
    """A question, taken apart.

    Attributes:
        question: The caller's.
    """

    question: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Stems of the content words of its subject: what a label of a form would say."""
        text = re.sub(r"\([^)]*\)", " ", self.question)
        if self.untaxed:
            return ("untax",)
        for pattern, instead in _SAID_OTHERWISE:
            text = pattern.sub(instead, text)
        found = tuple(dict.fromkeys(term.stem for term in content_terms(text)))
        return found or tuple(dict.fromkeys(term.stem for term in content_terms(self.question)))

    @cached_property
    def shape(self) -> Shape | None:
        """The form that its answer must have."""
        return None if self.yes_no else shape_asked(self.question)

    @cached_property
    def yes_no(self) -> bool:
        """Whether its answer is yes or no."""
        return _YES_NO.search(self.question.strip()) is not None

    @cached_property
    def counted(self) -> str:
        """What it wants counted in a list; empty: nothing."""
        match = _COUNT.search(self.question)
        if match is None or _IN_TOTAL.search(self.question):
            return ""
        what = match["what"] or match["items"] or ""
        return what if _ROWS.fullmatch(what) or _LISTED.search(match["rest"] or "") else ""

    @cached_property
    def summed(self) -> tuple[str, int]:
        """What it wants added up, and how many of them there are if it says so; empty: nothing."""
        match = _SUM.search(self.question)
        what = re.sub(r"\([^)]*\)", "", match["what"]).strip() if match else ""
        # "The total of the invoice" stands on it; of several things it has to be added up.
        if match and what.split() and (match["count"] or re.match(r"\w+s\b", what.split(" of ")[0].split()[-1])):
            count = (match["count"] or "0").casefold()
            return what, _NUMBERS.get(count) or int(count)
        match = _COUNT.search(self.question)
        return (match["what"] or "", 0) if match and _IN_TOTAL.search(self.question) else ("", 0)

    @cached_property
    def extreme(self) -> tuple[str, str, bool]:
        """What is looked for, by the largest or smallest of what, and whether the smallest; empty: nothing."""
        match = _MOST.search(self.question.strip())
        # "What is the highest price" asks for the price itself.
        if match is None or not (match["what"].strip() or match[0].casefold().startswith("who")):
            return "", "", False
        return match["what"].strip(), match["of"].strip(), match["extreme"].casefold() in _SMALL

    @cached_property
    def between(self) -> tuple[str, str, str]:
        """Two days and the unit of the time between them; empty: nothing."""
        match = _BETWEEN.search(self.question)
        return (match["from"], match["to"], match["unit"].casefold()) if match else ("", "", "")

    @cached_property
    def untaxed(self) -> bool:
        """Whether it asks for an amount before taxes."""
        return _UNTAXED.search(self.question) is not None

    @cached_property
    def sums(self) -> bool:
        """Whether it asks for what others add up to."""
        return set(self.words) <= _SUMS

    @cached_property
    def identifier(self) -> bool:
        """Whether it asks for a number that names something, and is no quantity."""
        return self.shape in (None, Shape.NUMBER) and _IDENTIFIER.search(self.question) is not None

    @cached_property
    def acronyms(self) -> frozenset[str]:
        """Short forms that it gives in brackets: "(EIN)"."""
        return frozenset(re.findall(r"\(([A-Z]{2,6})\)", self.question))

    def label_share(self, label: str) -> float:
        """Gives how much of what a label says is the question's, 0 to 1."""
        if self.untaxed:
            # "Excl. VAT" names it with both words.
            exact = named(label, self.words, "")
            share = share_named(label, self.words if exact else ("subtotal",), "", frozenset({"tax", "amount"}))
            return share if exact else _SUBTOTAL_SHARE * share
        neutral = _NEUTRAL.get(self.shape, frozenset()) if self.shape else frozenset()
        return share_named(label, self.words, self.question, neutral)

    @cached_property
    def works_out(self) -> bool:
        """Whether its answer follows from several values, and stands nowhere."""
        return bool(self.counted or self.summed[0] or self.extreme[1] or self.between[0])

    def named_by(self, label: str) -> frozenset[str]:
        """Gives which of its words a label names."""
        if self.acronyms & set(re.findall(r"\w+", label)):
            return frozenset(self.words)
        found = self._named(label)
        if self.identifier and found and found >= set(self.words) - NUMBER_WORDS and self.label_share(label) == 1:
            # Right beside a value with digits, "Invoice" is the invoice's number.
            return frozenset(self.words)
        return found

    def _named(self, label: str) -> frozenset[str]:
        found = named(label, self.words, self.question)
        return frozenset(self.words) if self.untaxed and named(label, ("subtotal",), "") else found
