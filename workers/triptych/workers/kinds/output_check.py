"""Looks once more whether a finished output is what was asked for, whatever model wrote it."""

from __future__ import annotations

from triptych.core.errors import FieldInvalid, OutputInvalid
from triptych.v1.vision_pb2 import FinishReason, VisionResult
from triptych.workers.engines.drafts import beginning
from triptych.workers.engines.output_rules import OutputRules
from triptych.workers.kinds.document_check import check_document


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

    What was copied is not looked at: where the copy comes from only the engine knows. Models outside do not write by
    our grammar, which has one order and few blanks: any valid document of theirs will do.

    Raises:
        OutputInvalid: It is not. The message has nothing of the text.
    """
    grammar = rules.grammar()
    if grammar is None:
        return
    outside = result.model.engine.startswith("remote/")
    if not (outside and rules.json_schema) and not grammar.accepts(result.text):
        cut = result.finish_reason == FinishReason.FINISH_REASON_LENGTH
        why = "it was cut at max_output_tokens" if cut else "it has another form"
        raise OutputInvalid(f"the model's output is not what was asked for: {why}")
    if rules.json_schema:
        check_document(rules.json_schema, result.text)
        result.output_json = result.text
