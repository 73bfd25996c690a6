"""Text that is held to JSON Schemas: is all of it valid, and what does a token cost?

    python bench/structured.py [MODELS_DIR] [--schemas 1000] [--rounds 5]

First a tiny model with random weights writes a document for each of many random schemas, greedily and by lot, with
little room and with much; `jsonschema` says which are valid. Then the embedded language model continues eight prompts
at once, as free text and held to eight schemas. Last line: `valid 1000/1000, time per token 1.04, least 1.03` (median
and least of the rounds); the exit code is 1 if a document is not valid or a held token takes 1.15 times as long as a
free one, or longer.
"""

import argparse
import contextlib
import decimal
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import hypothesis
from hypothesis import strategies as st
from jsonschema.validators import Draft202012Validator
from random_schemas import SCHEMAS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import tiny_models

from triptych.core.errors import FieldInvalid, SchemaInvalid
from triptych.core.output_grammar import check_schema_grammar
from triptych.core.settings import Settings
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.vision_pb2 import VisionResult
from triptych.workers.engines.generation import Prompt
from triptych.workers.engines.output_rules import OutputRules
from triptych.workers.engines.reader import ReaderEngine

BOUND = 1.15
ROWS = 8
DIGITS = 400
MODEL = "qwen2.5-coder-0.5b-instruct"
RECORD = {
    "type": "object",
    "properties": {
        "company": {"type": "string", "minLength": 3, "maxLength": 40},
        "invoice": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4,8}$"},
        "total": {"type": "number", "minimum": 0},
        "currency": {"enum": ["USD", "EUR", "GBP"]},
        "due": {"type": "string", "format": "date"},
    },
    "required": ["company", "invoice", "total", "currency", "due"],
    "additionalProperties": False,
}
ITEM = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 30}, "count": {"type": "integer", "minimum": 1}},
    "required": ["name", "count"],
}
FORMS = [
    {"type": "array", "items": RECORD, "minItems": 2},
    {"type": "array", "items": ITEM, "minItems": 4},
    {"type": "object", "properties": {f"field_{n}": {"type": "string", "minLength": 8} for n in range(8)},
     "required": [f"field_{n}" for n in range(8)]},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1},
    {"type": "array", "items": {"type": "number"}, "minItems": 24},
    {"type": "object", "properties": {"summary": {"type": "string", "minLength": 200}}, "required": ["summary"]},
    {"type": "array", "items": {"anyOf": [ITEM, {"type": "string", "minLength": 5}, {"type": "null"}]}, "minItems": 8},
    {},
]  # fmt: skip


def prompts(rules: list[OutputRules], tokens: int) -> list[Prompt]:
    task = "Write a long list of invented invoices of a hardware shop, with names, amounts and dates."
    return [
        Prompt(turns=(("user", (f"{task} Begin with number {n}.",)),), max_output_tokens=tokens, rules=rule)
        for n, rule in enumerate(rules)
    ]


def engine_of(folder: Path, threads: int) -> ReaderEngine:
    engine = ReaderEngine(folder, ModelRef(model=folder.name), None, device="cpu", threads=threads)
    engine.load()
    return engine


def valid_documents(count: int) -> tuple[int, Counter[str]]:
    """Gives how many of so many documents are valid, and what else was met."""
    with tempfile.TemporaryDirectory() as folder:
        engine = engine_of(tiny_models.qwen2(Path(folder)), 1)
    met: Counter[str] = Counter()
    left = count

    @hypothesis.settings(
        max_examples=count // ROWS * 2 + 8, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(
        st.lists(SCHEMAS, min_size=ROWS, max_size=ROWS), st.sampled_from([0.0, 0.7, 1.3]), st.integers(0, 2**31),
        st.sampled_from([24, 60, 150]),
    )  # fmt: skip
    def write(schemas: list[dict[str, object]], temperature: float, seed: int, tokens: int) -> None:
        nonlocal left
        if not left:
            return
        good = []
        for schema in map(json.dumps, schemas):
            try:
                check_schema_grammar(schema, "schema")
                good.append(schema)
            except SchemaInvalid:
                met["refused"] += 1
        items = [
            Prompt(
                turns=(("user", ("a photo",)),), rules=OutputRules(json_schema=schema), temperature=temperature,
                seed=seed + row, max_output_tokens=tokens,
            )
            for row, schema in enumerate(good)
        ]  # fmt: skip
        for schema, result in zip(good, engine.run_batch(items), strict=True):
            if isinstance(result, FieldInvalid):
                met["no document fits the limit"] += 1
            elif left:
                left -= 1
                met["valid" if is_valid(schema, result) else "not valid"] += 1
                met["tokens"] += result.usage.output_token_count if isinstance(result, VisionResult) else 0

    write()
    return met["valid"], met


def is_valid(schema: str, result: VisionResult | Exception) -> bool:
    why = str(result)
    if isinstance(result, VisionResult):
        with contextlib.suppress(ValueError):
            # Of floats 33.34 is no multiple of 0.01.
            form, document = (json.loads(text, parse_float=_number) for text in (schema, result.text))
            with decimal.localcontext(prec=DIGITS):
                error = next(Draft202012Validator(form).iter_errors(document), None)
            if error is None:
                return True
            why = error.message
    print(json.dumps({"schema": schema, "why": why[:300], "result": str(result)}), flush=True)
    return False


def _number(text: str) -> decimal.Decimal | float:
    try:
        return decimal.Decimal(text)
    except decimal.InvalidOperation:  # 1e99999999999999999999
        return float(text)


def step_s(engine: ReaderEngine, rules: list[OutputRules], tokens: int, read_s: float) -> float:
    """Gives the time of a step in which every row gets a token; reading the prompts is not counted."""
    began = time.thread_time()
    results = engine.run_batch(prompts(rules, tokens))
    spent_s = time.thread_time() - began - read_s
    counts = [result.usage.output_token_count for result in results if isinstance(result, VisionResult)]
    assert len(counts) == ROWS, results
    return spent_s / max(counts)


def token_cost(folder: Path, rounds: int, tokens: int, threads: int) -> list[float]:
    """Gives how much longer a token takes if it is held to a schema: of each round, first free and then held.

    What counts is the time of the engine's own thread: it computes its share of the model and all of the constraints,
    and what else runs on the machine is not counted.
    """
    engine = engine_of(folder, threads)
    free = [OutputRules()] * ROWS
    held = [OutputRules(json_schema=json.dumps(form)) for form in FORMS]
    # What is made once for a tokenizer is not counted.
    engine.run_batch(prompts([OutputRules(choices=("yes", "no"))], 8))
    ratios = []
    for _ in range(rounds):
        began = time.thread_time()
        engine.run_batch(prompts(free, 1))
        read_s = time.thread_time() - began
        free_s, held_s = (step_s(engine, rules, tokens, read_s) for rules in (free, held))
        ratios.append(held_s / free_s)
        figures = {"free_ms": free_s * 1e3, "held_ms": held_s * 1e3, "ratio": ratios[-1]}
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}), flush=True)
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models_dir", type=Path, nargs="?", default=None)
    parser.add_argument("--schemas", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=160)
    given = parser.parse_args()
    models_dir = given.models_dir or Settings().models_dir
    valid, met = valid_documents(given.schemas)
    print(json.dumps(met), flush=True)
    ratios = token_cost(models_dir / MODEL, given.rounds, given.tokens, given.threads)
    ratio = statistics.median(ratios)
    print(f"valid {valid}/{given.schemas}, time per token {ratio:.2f}, least {min(ratios):.2f}")
    return 0 if valid == given.schemas and ratio < BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
