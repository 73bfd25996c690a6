"""Looks once more whether a finished output is what was asked for, whatever model wrote it."""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable, Iterator
from typing import Any

from jsonschema.validators import Draft202012Validator, extend, validator_for

from triptych.core.errors import FieldInvalid, OutputInvalid
from triptych.v1.vision_pb2 import FinishReason, VisionResult
from triptych.workers.engines.drafts import beginning
from triptych.workers.engines.output_rules import OutputRules

# Keywords that are evaluated on one document; a schema that refers to itself in many ways could take for ever.
MAX_STEPS = 200_000
# Digits of numbers that are computed with, for multipleOf.
PRECISION = 400


def check_possible(rules: OutputRules) -> None:
    """Asks that there is a text as it is asked for, and prepares what the engine needs to write it.

    Raises:
        FieldInvalid: None was found.
    """
    grammar = rules.grammar()
    if grammar and beginning(grammar).shortest is None:
        raise FieldInvalid("config", "no output as asked for was found, or it takes thousands of characters")


def check_output(rules: OutputRules, result: VisionResult) -> None:
    """Sets the `output_json` of a result that has to satisfy a schema; asks that others are what was asked for.

    What was copied is not looked at: where the copy comes from only the engine knows.

    Raises:
        OutputInvalid: It is not.
    """
    grammar = rules.grammar()
    if grammar is None:
        return
    if not grammar.accepts(result.text):
        cut = result.finish_reason == FinishReason.FINISH_REASON_LENGTH
        why = "it was cut at max_output_tokens" if cut else f"it begins with {result.text[:80]!r}"
        raise OutputInvalid(f"the model's output is not what was asked for: {why}")
    if rules.json_schema:
        _check_document(rules.json_schema, result.text)
        result.output_json = result.text


def _check_document(schema_text: str, text: str) -> None:
    """Validates a document that the grammar has accepted."""
    try:
        # Of floats 0.3 is no multiple of 0.1.
        schema = json.loads(schema_text, parse_float=decimal.Decimal)
        document = json.loads(text, parse_float=_number)
        draft = validator_for(schema, default=Draft202012Validator)
        # Left in, it would lead back to the validator as it was.
        schema.pop("$schema", None)
        with decimal.localcontext(prec=PRECISION):
            error = next(_bounded(draft)(schema).iter_errors(document), None)
    except (ValueError, RecursionError, ArithmeticError, _TooManySteps) as failed:
        raise OutputInvalid(f"the model's output could not be checked: {failed!r}"[:300]) from failed
    if error is not None:
        raise OutputInvalid(
            f"the model's output does not satisfy the schema: at {error.json_path}: {error.message[:300]}"
        )


def _number(text: str) -> decimal.Decimal | float:
    try:
        return decimal.Decimal(text)
    except decimal.InvalidOperation:
        # 1e99999999999999999999: nobody computes with that.
        return float(text)


class _TooManySteps(Exception):
    """The schema takes too long to evaluate."""


def _bounded(draft: Any) -> Any:
    """A validator of a draft that ends in time.

    What is said by regular expressions is left to the grammar, which matches them in linear time: Python can take for
    ever on a hostile one.
    """
    left = MAX_STEPS

    def counted(keyword: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
        def evaluate(*args: Any) -> Iterator[Any]:
            nonlocal left
            left -= 1
            if left < 0:
                raise _TooManySteps
            yield from keyword(*args) or ()

        return evaluate

    def additional(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if "patternProperties" not in schema:
            yield from plain(validator, value, instance, schema)

    def ignored(*_args: Any) -> Iterator[Any]:
        return iter(())

    keywords: dict[str, Any] = {name: counted(keyword) for name, keyword in draft.VALIDATORS.items()}
    plain = keywords["additionalProperties"]
    keywords |= {"additionalProperties": additional, "pattern": ignored, "patternProperties": ignored}
    made: Any = extend(draft, keywords)  # type: ignore[no-untyped-call]
    return made
