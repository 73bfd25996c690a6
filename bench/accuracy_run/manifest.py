"""Items of an evaluation set: a file each, with what is right.

A manifest is a JSON object with `items`, or their list. An item has `id`, `file` (relative to the manifest),
`modality`, `ground_truth` and, where it is known, `lang`; other spellings that are right are in `text_alternatives`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One of them.

    Attributes:
        language: BCP-47 tag; empty if it is not said.
        truth: What is right, as the manifest has it.
        alternatives: Other texts that are right too.
    """

    id: str
    path: Path
    modality: str
    language: str
    truth: dict[str, Any]
    alternatives: tuple[str, ...]


def items(manifest: Path, modality: str) -> list[Item]:
    """Gives the items of one modality in the manifest's order.

    Raises:
        SystemExit: There is none.
    """
    told = json.loads(manifest.read_text("utf-8"))
    found = [
        Item(
            id=item["id"],
            path=manifest.parent / item["file"],
            modality=item["modality"],
            language=item.get("lang") or "",
            truth=item.get("ground_truth") or {},
            alternatives=tuple(item.get("text_alternatives") or ()),
        )
        for item in (told["items"] if isinstance(told, dict) else told)
        if item["modality"] == modality
    ]
    if not found:
        raise SystemExit(f"{manifest} has no item of modality {modality}")
    return found
