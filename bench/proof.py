"""What proofs have in common: the toy stack of the tests, a table of what was found and demanded, a verdict."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import toy_pages
from toy_stack import Process, ToyStack, until

__all__ = ["Process", "Proof", "ToyStack", "arguments", "quantile", "toy_pages", "until"]


class Proof:
    """Collects figures in the order they are found; some are held to a bound."""

    def __init__(self) -> None:
        self._figures: dict[str, float] = {}
        self._bounds: dict[str, str] = {}
        self._broken: list[str] = []

    def found(self, name: str, value: float) -> None:
        """Takes note of a figure."""
        self._figures[name] = round(value, 3)

    def at_most(self, name: str, value: float, bound: float) -> None:
        """Takes note of a figure that must not be larger."""
        self._demand(name, value, f"at most {bound:g}", held=value <= bound)

    def at_least(self, name: str, value: float, bound: float) -> None:
        """Takes note of a figure that must not be smaller."""
        self._demand(name, value, f"at least {bound:g}", held=value >= bound)

    def conclude(self, json_file: Path | None) -> int:
        """Prints the table and the verdict; gives the exit code."""
        if json_file:
            told = {"figures": self._figures, "demanded": self._bounds, "broken": self._broken}
            json_file.write_text(json.dumps(told, indent=1) + "\n")
        print("| what | found | demanded |\n|---|---|---|")
        for name, value in self._figures.items():
            print(f"| {name} | {value:g} | {self._bounds.get(name, '')} |")
        print(f"not held: {', '.join(self._broken)}" if self._broken else "held")
        return 1 if self._broken else 0

    def _demand(self, name: str, value: float, bound: str, *, held: bool) -> None:
        self.found(name, value)
        self._bounds[name] = bound
        if not held:
            self._broken.append(name)


def arguments(about: str) -> argparse.ArgumentParser:
    """Gives a parser with the argument that every proof has."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser


def quantile(values: Sequence[float], share: float) -> float:
    """Gives the value that this share of all does not exceed; 0 if there are none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0
