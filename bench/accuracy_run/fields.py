"""Share of the key fields of documents that are extracted right."""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from accuracy_run.answer_scores import amount, dates, mean, score
from accuracy_run.manifest import Item, items
from accuracy_run.service import service

from triptych.client import Client
from triptych.core.errors import TriptychError
from triptych.v1.reasoning_pb2 import ReasoningConfig
from triptych.v1.vision_pb2 import GenerationConfig

MODALITIES = ("document_image", "pdf")
WORKERS = ("reasoning", "ocr", "vision")
# By its name a field is an amount or a date, which are right in any spelling.
_AMOUNTS = re.compile(r"amount|total|cash|change|discount|tax|charges|wages")
_DATES = re.compile(r"date|flight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What came of one field.

    Attributes:
        item: Id of the document.
        name: Of the field.
        right: What stands there.
        said: What was extracted; empty if nothing was.
        found_by: Who found it.
        confidence: As the service gives it; None: it gives none.
        failure: Why the job failed, or empty.
    """

    item: str
    name: str
    right: str
    said: str = ""
    found_by: str = ""
    confidence: float | None = None
    failure: str = ""

    @property
    def correct(self) -> bool:
        """Whether it has the letters and digits of what is right, or is the same amount or date."""
        if not self.said:
            return False
        if _AMOUNTS.search(self.name) and amount(self.right) is not None and amount(self.right) == amount(self.said):
            return True
        if _DATES.search(self.name) and dates(self.right) & dates(self.said):
            return True
        return bool(score(self.said, [self.right]).exact)

    def line(self) -> str:
        """Gives it in one line."""
        sure = "-" if self.confidence is None else f"{self.confidence:.2f}"
        said = self.failure or self.said or "(not found)"
        verdict = "right" if self.correct else f"wrong, {self.right}"
        return f"{self.item}  {self.name}  {said}  {self.found_by or '-'} sure {sure}  {verdict}"


def last_line(found: Sequence[Extracted]) -> str:
    """Gives the figures as programs read them."""
    return f"exact {mean(one.correct for one in found):.2f} fields {len(found)}"


def table(found: Sequence[Extracted]) -> str:
    """Gives the figures by who found a field."""
    groups: dict[str, list[Extracted]] = defaultdict(list)
    for one in found:
        groups[one.found_by or "nobody"].append(one)
    lines = ["| found by | fields | right | mean confidence |", "|---|---|---|---|"]
    for name, group in sorted(groups.items()):
        right, sure = mean(one.correct for one in group), mean(one.confidence or 0 for one in group)
        lines.append(f"| {name} | {len(group)} | {right:.2f} | {sure:.2f} |")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what only this kind has."""
    parser.add_argument("--min-exact", type=float, help="exit with 1 if it is lower (rounded as printed)")


def run(given: argparse.Namespace) -> int:
    """Measures, and prints what was found; gives the exit code."""
    wanted = [item for item in items(given.manifest, *MODALITIES) if item.truth.get("fields")]
    wanted = [item for item in wanted if item.id.startswith(given.only)]
    stack = service(given.target, given.api_key, WORKERS[0], beside=WORKERS[1:])
    with stack as client, ThreadPoolExecutor(given.callers) as pool:
        found = [one for some in pool.map(lambda item: _extract(client, item, given.model), wanted) for one in some]
    if given.predictions:
        told: dict[str, dict[str, str]] = {item.id: {} for item in wanted}
        for one in found:
            told[one.item][one.name] = one.said
        given.predictions.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if given.per_item:
        for one in found:
            print(one.line())
    print(table(found))
    print(last_line(found))
    bound = given.min_exact
    return int(
        any(one.failure for one in found)
        or (bound is not None and not round(mean(one.correct for one in found), 2) >= bound)
    )


def _extract(client: Client, item: Item, model: str) -> list[Extracted]:
    """Asks for all fields of a document at once, as strings that are called as the manifest calls them."""
    fields = {name: str(right) for name, right in item.truth["fields"].items()}
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in fields}}
    config = ReasoningConfig(generation=GenerationConfig(model=model))
    try:
        result = client.answer("", [item.path], config, output_json_schema=json.dumps(schema))
    except TriptychError as error:
        failure = f"{error.reason}: {error.message}"
        return [Extracted(item=item.id, name=name, right=right, failure=failure) for name, right in fields.items()]
    document = json.loads(result.answer.output_json or "{}")
    told = {value.json_pointer.removeprefix("/"): value for value in result.values}
    return [
        Extracted(
            item=item.id,
            name=name,
            right=right,
            said=str(document.get(name, "")),
            found_by=" + ".join(told[name].found_by) if name in document else "",
            confidence=told[name].confidence if told[name].HasField("confidence") else None,
        )
        for name, right in fields.items()
    ]
