"""What a pipeline is once its file is read: stages with their options, prompts, a digest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from triptych.v1.reasoning_service_pb2 import QuestionRule

# The stage that gives the result; a plan has exactly one of them.
OUTCOMES = ("answer", "extract", "summarize", "classify", "minutes")
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}|[{}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing that is wrong in a file of a pipeline.

    Attributes:
        file: Its path below the folder of pipelines.
        line: From 1.
        reason: What is wrong, for whoever wrote the file.
    """

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class PlanInvalid(Exception):
    """A file does not describe a pipeline.

    Args:
        mistakes: At least one.
    """

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("; ".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is told: a text in which `{name}` stands for what a request brings, and `{{` for a brace."""

    text: str

    def filled(self, **values: str) -> str:
        """Gives the text with the values in it; each placeholder has to have one."""

        def put(match: re.Match[str]) -> str:
            return values[match[1]] if match[1] is not None else match[0][0]

        return _BRACES.sub(put, self.text)

    def unknown(self, names: tuple[str, ...]) -> list[tuple[int, str]]:
        """Gives (line, text) of every brace that is neither doubled nor around one of the names."""
        return [
            (self.text.count("\n", 0, match.start()) + 1, match[0])
            for match in _BRACES.finditer(self.text)
            if match[0] not in ("{{", "}}") and match[1] not in names
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of minutes.

    Attributes:
        prompt: Asks for its lines.
        words: Only what has one of these, in whatever common form, belongs to the section; none: everything may.
    """

    prompt: Prompt
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step: its name and what the file says about it; options that it does not name have their defaults."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How documents become a result.

    Attributes:
        name: As requests name it: that of the file, without its ending.
        description: What it is for.
        question: Whether a request has to have a question.
        models: Kind of child job ("ocr", "transcription", "vision") -> model, where the plan names one.
        stages: In order.
        schema: JSON Schema of its structured output; empty: it has none, or the request brings it.
        digest: "sha256-<64 hex>" of all its files.
        custom: Whether it is the operator's own.
    """

    name: str
    description: str
    question: QuestionRule.ValueType
    models: Mapping[str, str]
    stages: tuple[Stage, ...]
    schema: str
    digest: str
    custom: bool

    @property
    def outcome(self) -> Stage:
        """The stage that gives the result."""
        return next(stage for stage in self.stages if stage.name in OUTCOMES)

    def options(self, name: str) -> Mapping[str, Any]:
        """Gives the options of a stage; none if the plan does not have it."""
        return next((stage.options for stage in self.stages if stage.name == name), {})

    def has(self, name: str) -> bool:
        """Whether there is such a stage."""
        return any(stage.name == name for stage in self.stages)
