"""Validates a JSON document that a model wrote, in a time that no schema and no document makes long."""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable, Iterator
from typing import Any

from jsonschema.exceptions import ValidationError
from jsonschema.validators import Draft202012Validator, extend, validator_for
from llguidance import LLMatcher

from triptych.core.errors import OutputInvalid
from triptych.core.output_grammar import byte_matcher, json_grammar

# Keywords that are evaluated on one document, a few for each of its characters if that is more; a schema that refers to
# itself in many ways could take for ever.
MAX_STEPS, MAX_STEPS_PER_CHARACTER = 200_000, 2
# What compiling an expression, and matching so many characters with it, count as.
_COMPILING_STEPS, _STEP_CHARACTERS = 200, 64
# Digits of numbers that are computed with, for multipleOf.
PRECISION = 400

Keyword = Callable[..., Iterator[Any]]


def check_document(schema_text: str, text: str) -> None:
    """Asks that a text is a JSON document that satisfies a schema; order and blanks are free.

    Args:
        schema_text: JSON Schema that `check_schema_grammar` lets pass.
        text: Of the document.

    Raises:
        OutputInvalid: It does not, or that takes too long to tell. The message has nothing of the document: it goes to
            whoever is told of the job's end.
    """
    DocumentCheck(schema_text).check(text)


class DocumentCheck:
    """`check_document` for many documents of one schema: making the validator takes longer than most checks.

    Args:
        schema_text: JSON Schema that `check_schema_grammar` lets pass.
    """

    def __init__(self, schema_text: str) -> None:
        # Of floats 0.3 is no multiple of 0.1.
        schema = json.loads(schema_text, parse_float=decimal.Decimal)
        draft = validator_for(schema, default=Draft202012Validator)
        if isinstance(schema, dict):
            # Left in, it would lead back to the validator as it was.
            schema.pop("$schema", None)
        self._bounded = _Bounded()
        self._validator = self._bounded.validator(draft)(schema)

    def check(self, text: str) -> None:
        """Raises what `check_document` does. Not for several threads at once."""
        self._bounded.start(max(MAX_STEPS, MAX_STEPS_PER_CHARACTER * len(text)))
        try:
            document = json.loads(text, parse_float=_number, parse_constant=_no_number)
            with decimal.localcontext(prec=PRECISION):
                error = next(self._validator.iter_errors(document), None)
        except json.JSONDecodeError as failed:
            raise OutputInvalid(f"the model's output is no JSON from character {failed.pos} on") from failed
        except (ValueError, RecursionError, ArithmeticError, _TooManySteps) as failed:
            raise OutputInvalid(f"the model's output could not be checked: {type(failed).__name__}") from failed
        if error is not None:
            depth, keyword = len(error.absolute_path), error.validator or "false"
            raise OutputInvalid(f"the model's output does not satisfy the schema: at depth {depth}: {keyword}")


def _number(text: str) -> decimal.Decimal | float:
    try:
        return decimal.Decimal(text)
    except decimal.InvalidOperation:
        # 1e99999999999999999999: nobody computes with that.
        return float(text)


def _no_number(_text: str) -> float:
    raise ValueError("NaN and Infinity are Python's, not JSON's")


class _TooManySteps(Exception):
    """The schema takes too long to evaluate."""


class _Bounded:
    """What one validation may still do, and keywords that keep to it.

    What regular expressions say is asked of grammars, which match in linear time: Python can take for ever on a hostile
    one. They also know Rust's syntax, which the contract promises.
    """

    def __init__(self) -> None:
        self._left = 0
        self._matchers: dict[tuple[str, str], LLMatcher] = {}

    def start(self, steps: int) -> None:
        """Begins another validation, of so many steps at most."""
        self._left = steps

    def validator(self, draft: Any) -> Any:
        """Gives the validator of a draft with these keywords."""
        keywords: dict[str, Any] = {name: self._counted(keyword) for name, keyword in draft.VALIDATORS.items()}
        keywords |= {
            "pattern": self._said("pattern"),
            "format": self._said("format"),
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._additional_properties,
        }
        made: Any = extend(draft, keywords)  # type: ignore[no-untyped-call]
        return made

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _TooManySteps

    def _counted(self, keyword: Callable[..., Any]) -> Keyword:
        def evaluate(*args: Any) -> Iterator[Any]:
            self._spend(1)
            yield from keyword(*args) or ()

        return evaluate

    def _said(self, keyword: str) -> Keyword:
        def evaluate(_validator: Any, value: str, instance: Any, _schema: Any) -> Iterator[Any]:
            if isinstance(instance, str) and not self._says(keyword, value, instance):
                yield ValidationError(keyword)

        return evaluate

    def _pattern_properties(self, validator: Any, value: Any, instance: Any, _schema: Any) -> Iterator[Any]:
        for name, each in instance.items() if isinstance(instance, dict) else ():
            for pattern, schema in value.items():
                if self._says("pattern", pattern, name):
                    yield from validator.descend(each, schema, path=name, schema_path=pattern)

    def _additional_properties(self, validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        patterns = schema.get("patternProperties", ())
        for name, each in instance.items() if isinstance(instance, dict) else ():
            named = name in schema.get("properties", ())
            if not named and not any(self._says("pattern", pattern, name) for pattern in patterns):
                self._spend(1)
                if value is False:
                    yield ValidationError("additionalProperties")
                else:
                    yield from validator.descend(each, value, path=name)

    def _says(self, keyword: str, value: str, text: str) -> bool:
        """Whether a keyword about strings holds for one."""
        self._spend(1 + len(text) // _STEP_CHARACTERS)
        matcher = self._matchers.get((keyword, value))
        if matcher is None:
            self._spend(_COMPILING_STEPS)
            grammar = json_grammar(json.dumps({"type": "string", keyword: value}))
            matcher = self._matchers[keyword, value] = byte_matcher(grammar)
        data = list(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        said = matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()
        matcher.reset()
        return said
