"""Grammars of what a model may write, for llguidance: of a JSON Schema, a regular expression, choices, or pieces.

What is here knows no model and no tokenizer: services refuse with it what can never be enforced, and workers check with
it what was written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper, regex_to_lark

from triptych.core.errors import FieldInvalid, SchemaInvalid
from triptych.core.json_schemas import not_enforced, patterns_of
from triptych.core.schema_places import located

# Compiling stays below a tenth of a second with these, and a step below 20 ms, whatever is asked for.
LIMITS = LLParserLimits(initial_lexer_fuel=1_000_000, step_lexer_fuel=200_000, verbose_errors=False)
# A model that likes blanks must not write them for ever. A character is written in one way only (no \u0061 for "a"), or
# a second "a" would pass for a property of another name; so control characters without a letter cannot be written.
_JSON_WRITING = {"whitespace_pattern": "[ \\n]{1,16}", "json_allowed_escapes": 'nrbtf\\"'}
_MAX_REASON_CHARS = 300
# What ends a text of bytes.
END = 256


@dataclass(frozen=True, slots=True)
class OutputGrammar:
    """What the whole output must be.

    Attributes:
        rules: Lark rules of llguidance; that of the output is named `output`, or it is the terminal `OUTPUT`.
        is_json: Whether the output is a JSON document.
        patterns: Regular expressions that the output or parts of it match, for those who look for a text.
    """

    rules: str
    is_json: bool = False
    patterns: tuple[str, ...] = ()

    def lark(self, *, before: str = "", forcing: bool = True) -> str:
        """Gives the grammar as llguidance takes it.

        Args:
            before: What stands before the output in the tokens, but not in their text: some tokenizers begin every word
                with a blank.
            forcing: Whether text without an alternative is to be written with the very tokens of the tokenizer.
        """
        start = f"{json.dumps(before)} output" if before else "output"
        options = "" if forcing else '%llguidance {"no_forcing": true}\n'
        return LLMatcher.grammar_from_lark(f"{options}start: {start}\n{self.rules}")

    def accepts(self, text: str) -> bool:
        """Whether a text is a whole output; takes a time proportional to its length."""
        matcher = byte_matcher(self)
        data = list(text.encode("utf-8", "surrogatepass"))
        return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()


def json_grammar(schema: str) -> OutputGrammar:
    """Gives the grammar of the documents that satisfy a JSON Schema."""
    loaded = json.loads(schema)
    rules = f"output: %json {json.dumps({**loaded, 'x-guidance': _JSON_WRITING})}"
    return OutputGrammar(rules, is_json=True, patterns=patterns_of(loaded))


def regex_grammar(pattern: str) -> OutputGrammar:
    """Gives the grammar of the texts that a regular expression of Rust's matches as a whole."""
    # Digits are 0 to 9.
    return OutputGrammar(f"output: /{regex_to_lark(pattern, use_ascii='d')}/", patterns=(pattern,))


def choice_grammar(choices: Sequence[str]) -> OutputGrammar:
    """Gives the grammar of a few texts."""
    rules = "output: " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
    return OutputGrammar(rules)


def piece_grammar(documents: Sequence[Sequence[str]], otherwise: str) -> OutputGrammar:
    """Gives the grammar of every run of pieces of a document that neither begins nor ends with space, and of one text.

    Args:
        documents: Each as pieces that make up its text.
        otherwise: What can be said instead.
    """
    terminals = "\n".join(
        f"RUN{index}: %regex {json.dumps({'substring_chunks': list(pieces)})} & /\\S((.|\\n)*\\S)?/"
        for index, pieces in enumerate(documents)
    )
    alternatives = " | ".join([json.dumps(otherwise), *(f"RUN{index}" for index in range(len(documents)))])
    return OutputGrammar(f"output: {alternatives}\n{terminals}")


def check_schema_grammar(schema: str, field: str) -> None:
    """Asks that outputs can be held to all of a valid JSON Schema.

    Raises:
        SchemaInvalid: It says what cannot be enforced; the message has the place of what is wrong by itself.
    """
    loaded = json.loads(schema)
    reason = not_enforced(loaded)
    if not reason and (refusal := _why_refused(json_grammar(schema))):
        reason = located(loaded, refusal, _why_pattern_refused)
    if reason:
        raise SchemaInvalid(f"{field}: {reason}", metadata={"field": field})


def check_regex(pattern: str, field: str) -> None:
    """Asks for a regular expression that outputs can be held to.

    Raises:
        FieldInvalid: It is none, or has look-around or back-references.
    """
    if reason := _why_refused(regex_grammar(pattern)):
        raise FieldInvalid(field, f"cannot be enforced: {reason}")


def byte_matcher(grammar: OutputGrammar) -> LLMatcher:
    """Gives a matcher whose tokens are the 256 bytes."""
    return LLMatcher(BYTES, grammar.lark(), log_level=0, limits=LIMITS)


def _why_pattern_refused(pattern: str) -> str:
    return plain_reason(byte_matcher(json_grammar(json.dumps({"type": "string", "pattern": pattern}))).get_error())


def _why_refused(grammar: OutputGrammar) -> str:
    matcher = byte_matcher(grammar)
    if not matcher.is_error():
        # Only now it looks whether there is a way on.
        matcher.compute_bitmask()
    error = matcher.get_error()
    if (matcher.is_stopped() and not matcher.is_accepting() and not error) or error.startswith("NoExtension"):
        return "nothing satisfies it"
    return plain_reason(error)


def plain_reason(error: str) -> str:
    """Gives what the library says of a grammar, as far as its author can use it."""
    # Places in the grammar and options of the library would only confuse: neither is the caller's.
    error = error.partition("\n   1 |")[0].rpartition("failed to compile JSON schema: ")[2]
    error = error.partition(" Enable 'coerce_one_of'")[0]
    return " ".join(error.split())[:_MAX_REASON_CHARS]


class _Bytes:
    """A tokenizer whose tokens are the bytes."""

    eos_token_id = END
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    special_token_ids = (END,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


BYTES = LLTokenizer(TokenizerWrapper(_Bytes()))
