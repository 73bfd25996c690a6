"""Items of an evaluation set: a file each, with what is right.

A manifest is a JSON object with `items`, or their list. An item has `id`, `file` (relative to the manifest),
`modality`, `ground_truth` and, where it is known, `lang` and `condition` (what is hard about it); other spellings that
are right are in `text_alternatives`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One of them.

    Attributes:
        folder: Of the manifest.
        language: BCP-47 tag; empty if it is not said.
        truth: What is right, as the manifest has it.
        condition: What is hard about it; may be empty.
        alternatives: Other texts that are right too.
    """

    id: str
    path: Path
    folder: Path
    modality: str
    language: str
    truth: dict[str, Any]
    alternatives: tuple[str, ...]
    condition: str = ""

    def true_text(self) -> str | None:
        """What stands on it: in the truth itself, or in a file beside the manifest; None: nobody knows."""
        if name := self.truth.get("text_file"):
            return (self.folder / name).read_text("utf-8")
        return self.truth.get("text")


def items(manifest: Path, *modalities: str) -> list[Item]:
    """Gives the items of the modalities in the manifest's order.

    Raises:
        SystemExit: There is none.
    """
    told = json.loads(manifest.read_text("utf-8"))
    found = [
        Item(
            id=item["id"],
            path=manifest.parent / item["file"],
            folder=manifest.parent,
            modality=item["modality"],
            language=item.get("lang") or "",
            truth=item.get("ground_truth") or {},
            alternatives=tuple(item.get("text_alternatives") or ()),
            condition=item.get("condition") or "",
        )
        for item in (told["items"] if isinstance(told, dict) else told)
        if item["modality"] in modalities
    ]
    if not found:
        raise SystemExit(f"{manifest} has no item of modality {' or '.join(modalities)}")
    return found
