"""Files of pipelines: what is right, what is wrong and where, and that a changed one counts at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid
from triptych.core.pipelines.catalogue import Pipelines, read_entry
from triptych.core.pipelines.plan import Plan, Prompt
from triptych.core.pipelines.requests import applied, chosen
from triptych.core.settings import Settings
from triptych.v1.ocr_pb2 import OcrMode
from triptych.v1.reasoning_pb2 import ReasoningConfig, ReasoningSpec
from triptych.v1.reasoning_service_pb2 import QuestionRule
from triptych.v1.vision_pb2 import GenerationConfig

CATALOG = Catalog.load(Settings(_env_file=None))
HEAD = "description: Of our house.\nquestion: optional\n"
ANSWER = HEAD + "stages:\n- read\n- retrieve\n- answer\n- verify\n"
EXTRACT = HEAD + "stages:\n- read\n- retrieve\n- extract:\n    fields: FIELDS\n- verify\n"
CLASSIFY = HEAD + "stages:\n- read\n- retrieve\n- classify:\n    choices: CHOICES\n- verify\n"
MINUTES = HEAD + "stages:\n- read\n- minutes: {sections: SECTIONS}\n- verify\n"


def mistakes_of(folder: Path, text: str | bytes, **others: str) -> list[str]:
    """Gives what is wrong with a file `own.yaml`; the others lie beside it, `_` standing for the point."""
    path = folder / "own.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for name, other in others.items():
        (folder / name.replace("_", ".")).write_text(other)
    return [str(mistake) for mistake in read_entry(path, CATALOG).mistakes]


def plan_of(folder: Path, text: str, **others: str) -> Plan:
    assert mistakes_of(folder, text, **others) == []
    return Pipelines(folder, CATALOG).get("own")


def test_the_pipelines_of_the_suite_are_right() -> None:
    entries = Pipelines(None, CATALOG).entries()
    assert [entry.name for entry in entries] == ["answer", "classify", "extract", "summarize", "transcript-minutes"]
    assert [entry.error for entry in entries] == [""] * 5
    assert not any(entry.custom for entry in entries)
    plan = Pipelines(None, CATALOG).get("answer")
    assert plan.question == QuestionRule.QUESTION_RULE_REQUIRED
    assert plan.outcome.options["prompt"].text.startswith("You read documents. Answer with only the exact value")


def test_the_examples_are_right() -> None:
    folder = Path(__file__).parents[2] / "examples" / "pipelines"
    entries = [entry for entry in Pipelines(folder, CATALOG).entries() if entry.custom]
    assert [(entry.name, entry.error) for entry in entries] == [("invoice", ""), ("mailroom", "")]


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("", ["own.yaml:1: is empty"]),
        ("a: 1\nb: [\n", ["own.yaml:3: no YAML: "]),
        ("a: 1\nb: \t- c\n", ["own.yaml:2: no YAML: "]),
        (b"a: 1\nb: \xff\n", ["own.yaml:2: is not in UTF-8"]),
        (b"a: 1\nb: \x07\n", ["own.yaml:2: no YAML: the character '\\x07' must not stand here"]),
        ("[" * 60_000, ["own.yaml:1: is nested too deeply"]),
        ("# " + "x" * 70_000, ["own.yaml:1: own.yaml has over 65536 bytes"]),
        ("- read\n", ["own.yaml:1: has to be a mapping (name: value), not a list", "'description' is missing"]),
        (ANSWER + "question: none\n", ["own.yaml:8: 'question' stands twice, first in line 2"]),
        (ANSWER + "questoin: none\n", ["own.yaml:8: unknown key 'questoin'; did you mean 'question'?"]),
        (ANSWER + "x: &a 1\ny: *a\n", ["own.yaml:8: &a: places have no names here"]),
        (ANSWER.replace("- read", "- !x read"), ["own.yaml:4: the tag !x is not read here"]),
        (ANSWER.replace("- read", "- &a\n  read: {}"), ["own.yaml:4: &a: places have no names here"]),
        (ANSWER.replace("optional", "!!str optional"), ["own.yaml:2: the tag tag:yaml.org,2002:str is not read"]),
        (ANSWER + "3: x\n", ["own.yaml:8: a key has to be text, not a whole number; put it in quotes"]),
        (ANSWER.replace("optional", "maybe"), ["own.yaml:2: 'question' has to be required, optional, none, not maybe"]),
        (ANSWER.replace("optional", "[none]"), ["own.yaml:2: 'question' has to be "]),
        (ANSWER.replace("Of our house.", "2024-05-01"), ["own.yaml:1: 'description' has to be text, not a date"]),
        (HEAD, ["own.yaml:1: 'stages' is missing"]),
        (HEAD + "stages: read\n", ["own.yaml:3: 'stages' has to be a list, not text"]),
        (ANSWER.replace("- answer", "- anwser"), ["own.yaml:6: no stage is called 'anwser'; did you mean 'answer'?"]),
        (ANSWER.replace("- answer", "- {answer: {}, x: {}}"), ["own.yaml:6: a stage is a name, or one name with its"]),
        (ANSWER.replace("- answer", "-"), ["own.yaml:6: has to be a mapping (name: value), not nothing"]),
        (ANSWER.replace("- read", "- read: {layout: 1}"), ["own.yaml:4: 'layout' has to be true or false"]),
        (ANSWER.replace("- read", "- read: {languages: [no]}"), ["own.yaml:4: 'languages' False is no BCP 47"]),
        (ANSWER.replace("- verify", "- verify: {min_confidence: 1.5}"), ["own.yaml:7: 'min_confidence' has to"]),
        (ANSWER.replace("- verify", "- verify: {min_confidence: .nan}"), ["own.yaml:7: .nan is no number of JSON"]),
        (ANSWER.replace("- verify", "- verify: {min_cofidence: 1}"), ["own.yaml:7: unknown key 'min_cofidence'; did"]),
        (ANSWER.replace("- answer", "- answer: {prompt_tokens: 5}"), ["own.yaml:6: 'prompt_tokens' has to be from"]),
        (ANSWER.replace("- answer", "- answer: {prompt: no.txt}"), ["own.yaml:6: no.txt cannot be read: No such file"]),
        (ANSWER.replace("- answer", "- answer: {prompt: /etc/x}"), ["own.yaml:6: 'prompt' has to be the name of"]),
        (ANSWER.replace("- answer", "- answer: {prompt: ../x}"), ["own.yaml:6: 'prompt' has to be the name of"]),
        (ANSWER + "models: {vision: reader-qwen}\n", ["own.yaml:8: no model is called 'reader-qwen'; did you mean "]),
        (ANSWER + "models:\n  ocr: whisper-base\n", ["own.yaml:9: 'whisper-base' serves transcription jobs, not ocr"]),
        (ANSWER + "models: {vision: picodet-cdl}\n", ["own.yaml:8: no model is called 'picodet-cdl'; known are "]),
        (ANSWER + "models: {vison: x}\n", ["own.yaml:8: unknown key 'vison'; did you mean 'vision'?"]),
        (CLASSIFY.replace("choices: CHOICES", "prompt_tokens: 300"), ["own.yaml:6: 'classify' needs 'choices'"]),
        (CLASSIFY.replace("CHOICES", "{a: b}"), ["own.yaml:7: 'choices' has to have 2 to 64 choices, not 1"]),
        (CLASSIFY.replace("CHOICES", "{a: b, no: c}"), ["own.yaml:7: a key has to be text, not true or false"]),
        (MINUTES.replace("SECTIONS", "{Topics: {words: [a]}}"), ["own.yaml:5: 'sections' 'Topics' needs a 'prompt'"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str | bytes, mistakes: list[str]) -> None:
    found = mistakes_of(tmp_path, text)
    assert len(found) >= len(mistakes)
    for mistake, start in zip(found, mistakes, strict=False):
        assert start in mistake


@pytest.mark.parametrize(
    ("stages", "mistake"),
    [
        ("[retrieve, answer, verify]", "own.yaml:3: 'read' is missing: documents are read first"),
        ("[read, answer, verify]", "own.yaml:3: 'retrieve' is missing before 'answer'"),
        ("[read, retrieve, answer]", "own.yaml:3: 'verify' is missing: what is told has to be looked for again"),
        (
            "[read, verify]",
            "own.yaml:3: nothing gives a result: one of answer, extract, summarize, classify or",
        ),
        ("\n- read\n- verify\n- summarize", "own.yaml:6: 'summarize' has to stand before 'verify'"),
        (
            "\n- read\n- retrieve\n- answer\n- summarize\n- verify",
            "own.yaml:7: 'summarize' beside 'answer': a",
        ),
        ("\n- read\n- read\n- summarize\n- verify", "own.yaml:5: 'read' stands twice"),
        ("\n- read\n- retrieve\n- minutes: {sections: {A: p.txt}}\n- verify", "own.yaml:6: 'minutes' goes over all"),
    ],
)
def test_an_impossible_order_is_told_with_its_line(tmp_path: Path, stages: str, mistake: str) -> None:
    (first, *_) = mistakes_of(tmp_path, f"{HEAD}stages: {stages}\n", p_txt="List.")
    assert first.startswith(mistake)


@pytest.mark.parametrize(
    ("fields", "mistake"),
    [
        ("{type: object, properties: {a: {$ref: '#/$defs/x'}}}", "own.yaml:7: /properties/a: Pointer '/$defs/x' does"),
        ("\n      type: object\n      properties:\n        a: {type: strin}", "own.yaml:10: is no JSON Schema"),
        ("\n      type: object\n      properties:\n        a: {format: zip}", "own.yaml:10: /properties/a: Unknown"),
        (
            "{properties: {a: {const: 2024-05-01}}}",
            "own.yaml:7: a date is not read here; if it is text, put it in",
        ),
        ("[1]", "own.yaml:7: 'fields' has to be a JSON Schema, or the name of a file with one, not a list"),
        ("s.json", "s.json:3: is no JSON Schema: at $.type"),
        ("cut.json", "cut.json:2: no JSON: "),
        ("twice.json", "twice.json:2: 'a' stands twice, first in line 1"),
        ("s.yaml", "s.yaml:2: is no JSON Schema: at $.type"),
    ],
)
def test_a_schema_is_told_wrong_with_its_line(tmp_path: Path, fields: str, mistake: str) -> None:
    (found,) = mistakes_of(
        tmp_path,
        EXTRACT.replace("FIELDS", fields),
        s_json='{\n\t"title": "a",\n\t"type": 4}',
        cut_json='{"a":\n',
        twice_json='{"a": 1,\n"a": 2}',
        s_yaml="title: a\ntype: 4\n",
    )
    assert found.startswith(mistake)


def test_a_schema_stands_in_the_file_or_beside_it(tmp_path: Path) -> None:
    inline = plan_of(tmp_path, EXTRACT.replace("FIELDS", "{type: object, properties: {a: {type: string}}}"))
    beside = plan_of(
        tmp_path, EXTRACT.replace("FIELDS", "s.json"), s_json='{"type":"object","properties":{"a":{"type":"string"}}}'
    )
    assert json.loads(inline.schema) == json.loads(beside.schema)
    assert inline.digest != beside.digest


def test_a_placeholder_that_does_not_exist_is_told_with_its_line(tmp_path: Path) -> None:
    text = ANSWER.replace("- answer", "- answer: {prompt: p.txt}")
    found = mistakes_of(tmp_path, text, p_txt='Answer {question}.\nAs {"a": 1} and {queston}.\n')
    assert found == [
        'p.txt:2: no placeholder is called {"a": 1}; known: {question}; {{ is a brace',
        "p.txt:2: no placeholder is called {queston}; known: {question}; {{ is a brace",
    ]
    plan = plan_of(tmp_path, text, p_txt='Answer {question} as {{"a": 1}}.\n')
    # What a request brings is never read as a placeholder.
    assert plan.outcome.options["prompt"].filled(question="{question}?") == 'Answer {question}? as {"a": 1}.'


@given(strategies.text(alphabet="ab{}\n"))
def test_a_prompt_without_unknown_placeholders_can_be_filled(text: str) -> None:
    prompt = Prompt(text)
    if not prompt.unknown(("a",)):
        assert len(prompt.filled(a="")) <= len(text)


@given(strategies.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_file_breaks_the_reader(tmp_path: Path, text: str) -> None:
    assert mistakes_of(tmp_path, (HEAD + text).encode("utf-8", "surrogatepass"))


def test_a_file_that_is_named_wrong_says_so(tmp_path: Path) -> None:
    for name in ("Own.yaml", "own.yml", "my own.yaml"):
        (tmp_path / name).write_text(ANSWER)
    assert [entry.error.partition(" has")[0] for entry in Pipelines(tmp_path, CATALOG).entries() if entry.custom] == [
        "Own.yaml:1: the file's name", "my own.yaml:1: the file's name", "own.yml:1: the file's name",
    ]  # fmt: skip


def test_the_operators_file_wins_even_if_it_is_wrong(tmp_path: Path) -> None:
    pipelines = Pipelines(tmp_path, CATALOG)
    shipped = pipelines.get("answer")
    (tmp_path / "answer.yaml").write_text(ANSWER)
    own = pipelines.get("answer")
    assert (shipped.custom, own.custom) == (False, True)
    assert own.outcome.options["prompt"] == shipped.outcome.options["prompt"]
    (tmp_path / "answer.yaml").write_text(ANSWER + "x: y\n")
    with pytest.raises(FieldInvalid, match=r"'answer' cannot be used: answer\.yaml:8: unknown key 'x'"):
        pipelines.get("answer")
    (tmp_path / "answer.yaml").unlink()
    assert pipelines.get("answer") == shipped


def test_a_change_of_the_file_its_prompt_or_its_schema_counts_at_once(tmp_path: Path) -> None:
    pipelines = Pipelines(tmp_path, CATALOG)
    text = ANSWER.replace("- answer", "- answer: {prompt: p.txt}")
    path, prompt = tmp_path / "own.yaml", tmp_path / "p.txt"
    path.write_text(text)
    with pytest.raises(FieldInvalid, match=r"own\.yaml:6: p\.txt cannot be read"):
        pipelines.get("own")
    prompt.write_text("One.")
    first = pipelines.get("own")
    prompt.write_text("Two.")
    second = pipelines.get("own")
    assert second.outcome.options["prompt"].text == "Two."
    path.write_text(text.replace("Of our house.", "Of theirs."))
    third = pipelines.get("own")
    prompt.write_text("One.")
    path.write_text(text)
    assert len({first.digest, second.digest, third.digest}) == 3
    assert pipelines.get("own").digest == first.digest


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(ANSWER)
    os.utime(path, (1, 1))
    pipelines = Pipelines(tmp_path, CATALOG)
    plan = pipelines.get("own")
    assert pipelines.get("own") is plan
    os.utime(path, (2, 2))
    assert pipelines.get("own") is not plan


def test_a_name_that_nobody_has_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(FieldInvalid, match="no pipeline is called 'sumarize'; did you mean summarize") as refused:
        Pipelines(tmp_path, CATALOG).get("sumarize", "spec.pipeline")
    assert refused.value.metadata["field"] == "spec.pipeline"
    with pytest.raises(FieldInvalid, match="TRIPTYCH_PIPELINES_DIR names no folder"):
        Pipelines(tmp_path / "gone", CATALOG).get("mine")
    with pytest.raises(FieldInvalid, match="no pipeline is called"):
        Pipelines(tmp_path, CATALOG).get("../pipelines/answer")
    # Nobody is sent to a pipeline that cannot be used either, or to one with hardly a letter in common.
    (tmp_path / "broken.yaml").write_text("- read\n")
    known = (
        "'brokn'; known are answer, classify, extract, summarize, transcript-minutes; `triptych pipelines list` says"
    )
    with pytest.raises(FieldInvalid, match=known):
        Pipelines(tmp_path, CATALOG).get("brokn")


def test_a_schema_in_yaml_beside_its_pipeline_is_no_pipeline(tmp_path: Path) -> None:
    plan_of(tmp_path, EXTRACT.replace("FIELDS", "fields.yaml"), fields_yaml="properties: {total: {type: number}}\n")
    names = [entry.name for entry in Pipelines(tmp_path, CATALOG).entries() if entry.custom]
    assert names == ["own"]
    # One that nobody names says what is wrong with it.
    (tmp_path / "own.yaml").write_text(ANSWER)
    assert [entry.name for entry in Pipelines(tmp_path, CATALOG).entries() if entry.custom] == ["fields", "own"]


def generating(**options: Any) -> ReasoningSpec:
    """A request to classify."""
    spec = ReasoningSpec(pipeline="classify")
    spec.config.generation.MergeFrom(GenerationConfig(**options))
    return spec


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (ReasoningSpec(), "spec.question"),
        (ReasoningSpec(question="who?", pipeline="classify"), "spec.question"),
        (ReasoningSpec(question="who?", pipeline="answer", output_json_schema="{}"), "spec.output_json_schema"),
        (ReasoningSpec(question="who?", pipeline="nobody"), "spec.pipeline"),
        (generating(stop_sequences=["o"]), "spec.config.generation.stop_sequences"),
        (generating(max_output_tokens=2), "spec.config.generation.max_output_tokens"),
    ],
)
def test_a_request_has_to_fit_its_pipeline(spec: ReasoningSpec, field: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        chosen(spec, Pipelines(None, CATALOG), "spec")
    assert refused.value.metadata["field"] == field


def test_how_sure_an_outcome_is_can_be_asked_where_it_is_known() -> None:
    sure, any_ = ReasoningConfig(min_confidence=0.9), ReasoningConfig(min_confidence=0)
    with pytest.raises(FieldInvalid, match="nobody knows how sure"):
        chosen(ReasoningSpec(pipeline="classify", config=sure), Pipelines(None, CATALOG))
    chosen(ReasoningSpec(pipeline="classify", config=any_), Pipelines(None, CATALOG))
    chosen(ReasoningSpec(question="What?", config=sure), Pipelines(None, CATALOG))


def test_a_schema_means_extraction() -> None:
    assert chosen(ReasoningSpec(output_json_schema="{}"), Pipelines(None, CATALOG)).name == "extract"


def test_the_word_of_the_request_counts_then_that_of_the_pipeline(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        ANSWER.replace("- read", "- read: {layout: true, speakers: true, languages: [en]}")
        .replace("- answer", "- answer: {max_output_tokens: 9}")
        .replace("- verify", "- verify: {min_confidence: 0.5, max_evidence_count: 3}")
        + "models: {vision: reader-qwen2.5-coder-1.5b}\n",
    )
    config = applied(ReasoningSpec(question="?"), plan).config
    assert config.generation.model == "reader-qwen2.5-coder-1.5b"
    assert (config.ocr.mode, list(config.ocr.language_codes)) == (OcrMode.OCR_MODE_LAYOUT, ["en"])
    assert config.transcription.HasField("speakers")
    assert config.transcription.language_code == "en"
    assert (config.generation.max_output_tokens, config.min_confidence, config.max_evidence_count) == (9, 0.5, 3)
    asked = ReasoningConfig(
        generation=GenerationConfig(model="other", max_output_tokens=1), min_confidence=0, max_evidence_count=1
    )
    asked.ocr.language_codes.append("de")
    config = applied(ReasoningSpec(question="?", config=asked), plan).config
    assert (config.generation.model, config.generation.max_output_tokens) == ("other", 1)
    assert (config.min_confidence, config.max_evidence_count) == (0, 1)
    assert list(config.ocr.language_codes) == ["de"]


@pytest.mark.timeout(10)
def test_a_pipe_in_the_folder_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.yaml")
    os.mkfifo(tmp_path / "p.txt")
    (entry,) = (entry for entry in Pipelines(tmp_path, CATALOG).entries() if entry.custom)
    assert entry.error == "own.yaml:1: own.yaml is no regular file"
    (tmp_path / "own.yaml").unlink()
    (mistake,) = mistakes_of(tmp_path, ANSWER.replace("- answer", "- answer: {prompt: p.txt}"))
    assert mistake == "own.yaml:6: p.txt is no regular file"
