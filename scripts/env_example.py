"""Writes .env.example from the settings' docstrings; `check` as argument only says whether it is fresh."""

import sys
import textwrap
from pathlib import Path

from triptych.core.settings import Settings

HEAD = "# Every setting with its default, generated from core/triptych/core/settings.py by scripts/env_example.py.\n"
TARGET = Path(__file__).parent.parent / ".env.example"


def rendered() -> str:
    """Gives the text of .env.example."""
    parts = [HEAD]
    for name, field in Settings.model_fields.items():
        about = " ".join((field.description or "").split())
        comment = textwrap.fill(about, 118, initial_indent="# ", subsequent_indent="# ")
        default = field.get_default()
        value = "" if default is None or field.default_factory else default
        parts.append(f"{comment}\n# TRIPTYCH_{name.upper()}={value}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(None if TARGET.read_text() == rendered() else ".env.example is stale: python scripts/env_example.py")
    TARGET.write_text(rendered())
