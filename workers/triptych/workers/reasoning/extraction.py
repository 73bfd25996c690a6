"""Extracts the values that a JSON Schema asks for, each with its own evidence, status and confidence."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from triptych.core.schema_values import Leaf, ListOf, ObjectOf, leaves, wanted_values
from triptych.v1.common_pb2 import TokenUsage
from triptych.v1.reasoning_pb2 import AnswerStatus, AnswerValue, Evidence
from triptych.workers.reasoning.assembly import Assembly, Found, Rows
from triptych.workers.reasoning.candidates import Outcome, of_cell, of_finding, of_hit
from triptych.workers.reasoning.children import Children, unit_of
from triptych.workers.reasoning.columns import are_headings, items
from triptych.workers.reasoning.evidence import Locator
from triptych.workers.reasoning.finding import Finder, Finding
from triptych.workers.reasoning.habits import Habits, habits
from triptych.workers.reasoning.ingest import together
from triptych.workers.reasoning.labelled import Hit, labelled
from triptych.workers.reasoning.matching import Span
from triptych.workers.reasoning.readings import Reading
from triptych.workers.reasoning.tables import tables
from triptych.workers.reasoning.unlabelled import unlabelled
from triptych.workers.reasoning.value_names import Wanted, wanted
from triptych.workers.reasoning.weighing import settled, weighed

# Questions on their way to the model at once: it answers several together, and other jobs want it too.
MAX_QUESTIONS = 4
# The first of these that a list has separates its items.
_SEPARATORS = ("\n", ";", ", ")
_BULLET = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)]|and\b)\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What documents say to a schema.

    Attributes:
        output_json: Satisfies the schema; empty if what was found cannot.
        values: What is known of each value, in the schema's order.
        evidence: "e1", "e2", ...; each says which value it supports.
        status: ANSWERED: all that is required was found, or all of a schema that requires nothing.
        confidence: Mean of those of the values; None if there are none.
        groundedness: Share of the values that have evidence; None if there are none.
        text: The values for people, a line each.
        usage: Tokens that it took.
    """

    output_json: str
    values: list[AnswerValue]
    evidence: list[Evidence]
    status: AnswerStatus.ValueType
    confidence: float | None = None
    groundedness: float | None = None
    text: str = ""
    usage: TokenUsage = field(default_factory=TokenUsage)


async def extract(
    schema: Mapping[str, Any],
    finder: Finder,
    readings: Sequence[Reading],
    children: Children,
    *,
    instructions: str = "",
    min_confidence: float = 0.0,
    max_evidence_count: int = 10,
) -> Extraction:
    """Looks for every value of a schema: beside labels and in tables first, by the model where those leave a doubt.

    Args:
        schema: That `wanted_values` takes.
        finder: Answers questions over the same readings.
        readings: Everything that was recognized.
        children: Works on them away from the loop.
        instructions: The caller's words on what is wanted; every question begins with them.
        min_confidence: Values that are less sure are NOT_FOUND, 0 to 1.
        max_evidence_count: Pieces of evidence of one value, at most.

    Raises:
        FieldInvalid: The schema asks for what cannot be looked for.
        StageFailed: The model failed.
        TriptychError: What a retry may cure, a time limit or a cancellation of a child.
    """
    root = wanted_values(schema)
    search = _Search(finder, readings, children, instructions.strip())
    places = list(leaves(root))
    await children.compute(unit_of("habits"), search.look)
    found = dict(
        zip(
            (path for path, _ in places),
            await together(search.place(path, leaf) for path, leaf in places),
            strict=True,
        )
    )
    assembly = Assembly(found, min_confidence=min_confidence, max_evidence_count=max_evidence_count)
    made = await children.compute(unit_of("assembly"), lambda: assembly.document(root, schema))
    return Extraction(
        output_json=made.output_json,
        values=made.values,
        evidence=made.evidence,
        status=made.status,
        confidence=made.confidence,
        groundedness=made.groundedness,
        text=made.text,
        usage=search.usage,
    )


class _Search:
    def __init__(self, finder: Finder, readings: Sequence[Reading], children: Children, instructions: str) -> None:
        self._finder = finder
        self._readings = readings
        self._children = children
        self._instructions = instructions
        self._asking = asyncio.Semaphore(MAX_QUESTIONS)
        documents: dict[str, list[str]] = {}
        for reading in readings:
            documents.setdefault(reading.document_id, []).append(reading.text)
        self._texts = documents
        self._habits: dict[str, Habits] = {}
        self.usage = TokenUsage()

    def look(self) -> None:
        """Learns how the documents write; takes a while for long ones."""
        self._habits = {document: habits(texts) for document, texts in self._texts.items()}

    async def place(self, path: tuple[str, ...], place: Leaf | ListOf) -> Found:
        one = wanted(path, place)
        if isinstance(place, Leaf):
            return await self._value(path, one, place)
        items = place.items
        if isinstance(items, ObjectOf):
            return await self._children.compute(unit_of("rows", *path), lambda: self._rows(items))
        assert isinstance(items, Leaf)
        return await self._listed(path, one, items)

    async def _value(self, path: tuple[str, ...], one: Wanted, leaf: Leaf) -> Outcome:
        hits = await self._children.compute(unit_of("labels", *path), lambda: self._hits(one))
        labels = [of_hit(hit, self._readings) for hit in hits]
        if settled(labels, hits):
            return weighed(labels, hits, None)
        finding = await self._ask(one.question)
        outcome = weighed(labels, hits, of_finding(finding, leaf, self._habits, self._readings))
        cut = finding.status == AnswerStatus.ANSWER_STATUS_PARTIAL and outcome.found_by == ("model",)
        return replace(outcome, status=finding.status) if cut and outcome.value is not None else outcome

    def _hits(self, one: Wanted) -> list[Hit]:
        found = labelled(self._readings, self._habits, one)
        return found or unlabelled(self._readings, self._habits, one)

    async def _listed(self, path: tuple[str, ...], one: Wanted, leaf: Leaf) -> Rows:
        """Gives the items that the model lists and that a document has."""
        finding = await self._ask(one.question)
        locator = Locator(self._readings, (), one.question, check=self._children.check)
        parts = _parts(finding.value)
        cut = finding.status == AnswerStatus.ANSWER_STATUS_PARTIAL
        if cut:
            # Of "10, 20, 30" the model's limit may have left "10, 20, 3".
            parts = parts[:-1]
        listed: list[Outcome] = []
        taken: list[tuple[int, Span]] = []
        for part in parts:
            evidence = await self._children.compute(unit_of("item", *path, part), partial(locator.find, part, taken))
            own = Finding(
                status=AnswerStatus.ANSWER_STATUS_ANSWERED,
                value=part,
                evidence=[evidence] if evidence else [],
                confidence=finding.confidence,
            )
            candidate = of_finding(own, leaf, self._habits, self._readings)
            # What is told again is another item if it stands again.
            if candidate and (evidence or not any(item.value == candidate.value for item in listed)):
                listed.append(weighed((), (), candidate))
        return Rows(items=[{(): item} for item in listed], whole=not cut)

    def _rows(self, item: ObjectOf) -> Rows:
        names = {path: wanted(path, leaf) for path, leaf in leaves(item) if isinstance(leaf, Leaf)}
        found = [tables(reading, lambda texts: are_headings(texts, names)) for reading in self._readings]
        own = [self._habits[reading.document_id] for reading in self._readings]
        listed = items(found, names, own)
        return Rows(items=[{path: of_cell(filled, self._readings) for path, filled in row.items()} for row in listed])

    async def _ask(self, question: str) -> Finding:
        asked = f"{self._instructions}\n{question}" if self._instructions else question
        async with self._asking:
            finding = await self._finder.find(asked)
        self.usage.input_token_count += finding.usage.input_token_count
        self.usage.output_token_count += finding.usage.output_token_count
        return finding


def _parts(text: str) -> list[str]:
    separator = next((sign for sign in _SEPARATORS if sign in text.strip()), "\n")
    parts = (_BULLET.sub("", part, count=1) if _BULLET.match(part) else part for part in text.split(separator))
    return [part.strip() for part in parts if part.strip()]
