"""Pipelines of the suite and of the user's own run over real documents; a wrong file says where it is wrong."""

import json
from importlib import resources
from pathlib import Path

import pytest

from triptych.core.errors import FieldInvalid
from triptych.v1.reasoning_pb2 import AnswerStatus, QuoteMatch, ReasoningConfig
from triptych.v1.vision_pb2 import GenerationConfig

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]

OWN = """description: Who sent it, in the words of the house.
question: required
stages:
  - read
  - retrieve
  - answer: {prompt: prompts/house.txt, max_output_tokens: MANY}
  - verify
"""


@pytest.fixture(scope="module")
def demo():
    with resources.as_file(resources.files("triptych.cli") / "demo_data") as folder:
        yield folder


@pytest.fixture
def own(stack):
    """Writes files of pipelines for the running stack."""
    written = []

    def write(name, text):
        path: Path = stack.pipelines_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        written.append(path)
        return path

    yield write
    for path in written:
        path.unlink(missing_ok=True)


def test_a_wrong_file_is_refused_with_its_line_and_runs_once_it_is_mended(stack, client, demo, own):
    pids = {process["name"]: process["pid"] for process in stack.record["processes"]}
    invoice = demo / "invoice_scan.pdf"

    def ask():
        return client.answer("What is the invoice number?", [invoice], pipeline="house")

    with pytest.raises(FieldInvalid, match="no pipeline is called 'house'"):
        ask()
    own("house.yaml", OWN.replace("MANY", "many"))
    with pytest.raises(FieldInvalid) as refused:
        ask()
    assert refused.value.metadata["field"] == "spec.pipeline"
    assert "house.yaml:6: 'max_output_tokens' has to be a whole number, not text" in refused.value.message
    assert "house.yaml:6: prompts/house.txt cannot be read: No such file or directory" in refused.value.message
    listed = {pipeline.name: pipeline for pipeline in client.pipelines()}
    assert "house.yaml:6: " in listed["house"].error
    checked = stack.run("pipelines", "check", str(stack.pipelines_dir))
    assert checked.returncode == 1
    assert f"{stack.pipelines_dir}/house.yaml:6: " in checked.stdout

    own("house.yaml", OWN.replace("MANY", "32"))
    own("prompts/house.txt", "Answer {queston} with the exact value from the document.\n")
    with pytest.raises(FieldInvalid, match=r"prompts/house\.txt:1: no placeholder is called \{queston\}"):
        ask()

    own("prompts/house.txt", "Answer {question} with the exact value from the document, nothing else.\n")
    result = ask()
    assert "INV-100" in result.answer.text
    assert result.evidence[0].page.polygon
    assert (result.pipeline.name, len(result.pipeline.digest)) == ("house", len("sha256-") + 64)
    before = result.pipeline.digest

    # Another prompt is another pipeline: what was answered by the old one is not given for it.
    own("prompts/house.txt", "Say: not found.\n")
    changed = ask()
    assert changed.pipeline.digest != before
    assert not next(stage for stage in changed.stages if stage.stage == "answer").cached
    assert pids == {process["name"]: process["pid"] for process in stack.record["processes"]}


def test_a_document_is_of_one_of_the_kinds(stack, demo):
    done = stack.run("reason", "classify", str(demo / "invoice_scan.pdf"), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert json.loads(said["answer"]["output_json"]) == {"d1": "invoice"}
    (evidence,) = said["evidence"]
    assert evidence["json_pointer"] == "/d1"
    assert evidence["page"]["polygon"]


def test_a_summary_is_of_sentences_that_stand_in_the_recording(client, demo):
    short = ReasoningConfig(generation=GenerationConfig(max_output_tokens=48))
    result = client.answer("", [demo / "voice_memo.ogg"], short, pipeline="summarize")
    assert result.answer.status == AnswerStatus.ANSWER_STATUS_ANSWERED
    found = [one for one in result.evidence if one.quote_match != QuoteMatch.QUOTE_MATCH_NONE]
    assert found
    assert all(one.audio.end_ms > one.audio.start_ms >= 0 for one in found)


def test_minutes_give_the_second_of_each_line(client, demo):
    result = client.answer("", [demo / "voice_memo.ogg"], pipeline="transcript-minutes")
    assert result.answer.text.startswith("Topics\n- ")
    assert "\n\nActions\n" in result.answer.text
    with pytest.raises(FieldInvalid, match="needs a recording"):
        client.answer("", [demo / "invoice_scan.pdf"], pipeline="transcript-minutes")
