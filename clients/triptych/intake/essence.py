"""What a program wants to know of a result first: the answer, the text; and the same as the cells of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def essence(result: dict[str, Any]) -> dict[str, Any]:
    """Gives the answer of a result, without evidence, places and words.

    Args:
        result: A JobResult as JSON, with the contract's own field names.
    """
    if "reasoning" in result:
        return _answer(result["reasoning"])
    if "ocr" in result:
        pages = result["ocr"].get("pages", [])
        return {"page_count": len(pages), "text": "\n\n".join(page.get("text", "") for page in pages)}
    [found] = result.values()
    return {"text": found.get("text", "")}


def _answer(reasoning: dict[str, Any]) -> dict[str, Any]:
    answer = reasoning.get("answer", {})
    facts: dict[str, Any] = {"status": answer.get("status", "").removeprefix("ANSWER_STATUS_").lower()}
    facts["text"] = answer.get("text", "")
    facts |= {name: answer[name] for name in ("groundedness", "confidence") if name in answer}
    if answer.get("output_json"):
        facts["output"] = json.loads(answer["output_json"])
    if reasoning.get("values"):
        facts["values"] = [
            {
                "json_pointer": value["json_pointer"],
                "status": value.get("status", "").removeprefix("ANSWER_STATUS_").lower(),
                **{name: value[name] for name in ("confidence", "raw") if name in value},
            }
            for value in reasoning["values"]
        ]
    return facts


def cells(facts: dict[str, Any]) -> dict[str, Any]:
    """Gives a line of the results as cells: values under their JSON Pointers, with how sure they are beside them."""
    error, found = facts.get("error", {}), facts.get("answer", {})
    row = {name: facts[name] for name in ("line", "name", "state", "duplicate_of", "job", "file", "result")}
    row |= {"error_reason": error.get("reason"), "error_message": error.get("message")}
    row |= {name: found[name] for name in found if name not in ("output", "values")}
    if "output" in found:
        row |= dict(_leaves(found["output"], ""))
    for value in found.get("values", []):
        row[f"{value['json_pointer']} status"] = value["status"]
        row[f"{value['json_pointer']} confidence"] = value.get("confidence")
    return row


def _leaves(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves(part, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{pointer}/{number}")
    else:
        yield pointer or "/", value
