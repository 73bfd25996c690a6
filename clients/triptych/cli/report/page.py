"""The report as one page of HTML: question, answer, evidence, and what it was made with."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from triptych.cli.printing import enum_word
from triptych.cli.report.documents import Document
from triptych.cli.report.evidence_section import rules, section
from triptych.cli.report.marks import COLOURS
from triptych.cli.report.markup import Html, tag
from triptych.cli.report.pictures import Shown
from triptych.cli.report.tables import documents_table, models_table, stages_table, values_table

if TYPE_CHECKING:
    from triptych.v1.reasoning_pb2 import Answer, ReasoningResult

GENERATOR = "Triptych report"
"""What the page says that it is made by."""
_CITATION = re.compile(r"\[([A-Za-z]\w*)\]")


def page(question: str, result: ReasoningResult, documents: Mapping[str, Document], shown: Sequence[Shown]) -> str:
    """Gives the page.

    Args:
        question: As it was asked.
        result: What came of it.
        documents: By id.
        shown: The places of the evidence.
    """
    cite = {
        found.evidence_id: tag(
            "a", found.evidence_id, class_=f"badge mark-{number % len(COLOURS)}", href=f"#evidence-{number + 1}"
        )
        for number, found in enumerate(result.evidence)
    }
    values = values_table(result, cite)
    made_with = (documents_table(result, documents), models_table(result), stages_table(result), _plan(result))
    body = tag(
        "body",
        tag("header", tag("p", "Question", class_="kicker"), tag("h1", question, dir="auto")),
        tag(
            "main",
            tag("section", _answer(result.answer, cite), values, aria_label="Answer"),
            tag("h2", "Evidence") if shown else None,
            [section(one, number) for number, one in enumerate(shown, 1)],
        ),
        tag("footer", tag("h2", "How it was found"), made_with),
    )
    return f"<!doctype html>\n{tag('html', _head(question, shown), body, lang='en')}\n"


def _head(question: str, shown: Sequence[Shown]) -> Html:
    """Gives the head. The page may do nothing but show what lies beside it and run its one script (CSP 3)."""
    here = resources.files("triptych.cli.report")
    style = Html(f"\n{(here / 'style.css').read_text('utf-8')}{rules(shown)}\n")
    script = Html(f"\n{(here / 'script.js').read_text('utf-8')}")
    allowed = (
        "default-src 'none'; img-src 'self'; media-src 'self'; "
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=allowed),
        tag("meta", name="generator", content=GENERATOR),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", question),
        tag("style", style),
        # Deferred scripts are files; this one waits for the page itself.
        tag("script", script, type="module"),
    )


def _answer(answer: Answer, cite: Mapping[str, Html]) -> Html:
    from triptych.v1.reasoning_pb2 import AnswerStatus

    status = enum_word(AnswerStatus, answer.status)
    facts = [("Status", tag("span", status.replace("_", " "), class_=f"status status-{status}"))]
    if answer.HasField("groundedness"):
        facts.append(("Groundedness", tag("span", f"{answer.groundedness:.2f}", title="share of claims with evidence")))
    if answer.HasField("confidence"):
        facts.append(("Confidence", tag("span", f"{answer.confidence:.2f}", title="how likely it is right")))
    structured = json.dumps(json.loads(answer.output_json), ensure_ascii=False, indent=2) if answer.output_json else ""
    return tag(
        "div",
        tag("p", list(_cited(answer.text, cite)), class_="answer", dir="auto") if answer.text else None,
        tag("pre", structured, dir="auto", tabindex="0") if structured else None,
        tag("dl", ([tag("div", tag("dt", name), tag("dd", value))] for name, value in facts)),
    )


def _cited(text: str, cite: Mapping[str, Html]) -> Iterator[str]:
    """Gives the text in pieces, citations of evidence as links."""
    last = 0
    for match in _CITATION.finditer(text):
        if link := cite.get(match[1]):
            yield from (text[last : match.start()], link)
            last = match.end()
    yield text[last:]


def _plan(result: ReasoningResult) -> Html | None:
    if not result.HasField("pipeline"):
        return None
    return tag("p", "Pipeline ", tag("strong", result.pipeline.name), " ", tag("code", result.pipeline.digest))


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
