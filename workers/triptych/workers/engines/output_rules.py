"""What a generated text is held to, as a request says it."""

from __future__ import annotations

from dataclasses import dataclass

from triptych.core.output_grammar import OutputGrammar, choice_grammar, json_grammar, regex_grammar
from triptych.v1.vision_pb2 import GenerationConfig

# What can be said where the answer is copied from a document, and does not stand in it.
NOT_FOUND = "not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRules:
    """At most one of these is set; none: the text is free.

    Attributes:
        json_schema: The output is a JSON document that satisfies it; it was checked.
        regex: It matches the whole output; it was checked.
        choices: The output is one of them.
        copied: The output is a run of words of one page that was read, or `NOT_FOUND`.
    """

    json_schema: str = ""
    regex: str = ""
    choices: tuple[str, ...] = ()
    copied: bool = False

    @classmethod
    def of(cls, config: GenerationConfig) -> OutputRules:
        """Takes them from a request's options."""
        return cls(
            json_schema=config.output_json_schema,
            regex=config.output_regex,
            choices=tuple(config.output_choices),
            copied=config.enable_copying,
        )

    def grammar(self) -> OutputGrammar | None:
        """Gives the grammar of the output; None if the rules alone, without documents, make none."""
        if self.json_schema:
            return json_grammar(self.json_schema)
        if self.regex:
            return regex_grammar(self.regex)
        return choice_grammar(self.choices) if self.choices else None


# Anything may be written.
FREE = OutputRules()
