"""Which pipelines there are, and requests that name them."""

import pytest

from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobSpec
from triptych.v1.job_service_pb2 import SubmitJobRequest
from triptych.v1.reasoning_pb2 import ReasoningSpec, SourceDocument
from triptych.v1.reasoning_service_pb2 import ListPipelinesRequest, QuestionRule

OWN = """description: Our own.
question: none
models: {vision: MODEL}
stages: [read, summarize, verify]
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pipelines"
    path.mkdir()
    return path


@pytest.fixture
async def client(serve, folder, worker):
    _, client = await serve(pipelines_dir=folder)
    return client


def submitting(samples, **fields):
    document = SourceDocument(input=InputSource(content=samples.png))
    return SubmitJobRequest(spec=JobSpec(reasoning=ReasoningSpec(documents=[document], **fields)))


async def test_all_are_listed_and_wrong_ones_say_what_is_wrong(client, folder):
    (folder / "own.yaml").write_text(OWN.replace("MODEL", "nobody"))
    (folder / "answer.yaml").write_text(OWN.replace("MODEL", "reader-qwen2.5-coder-0.5b"))
    listed = (await client.reasoning.ListPipelines(ListPipelinesRequest())).pipelines
    assert [one.name for one in listed] == ["answer", "classify", "extract", "own", "summarize", "transcript-minutes"]
    by_name = {one.name: one for one in listed}
    own, answer, classify = by_name["own"], by_name["answer"], by_name["classify"]
    assert own.error.startswith("own.yaml:3: no model is called 'nobody'")
    assert (own.custom, own.digest) == (True, "")
    assert (answer.custom, answer.question) == (True, QuestionRule.QUESTION_RULE_NONE)
    assert (classify.custom, classify.digest[:7], len(classify.digest)) == (False, "sha256-", 71)
    assert "invoice" in classify.output_json_schema


async def test_a_request_is_held_to_its_pipeline_at_once(client, folder, samples, fails):
    (folder / "own.yaml").write_text(OWN.replace("MODEL", "reader-qwen2.5-coder-0.5b"))
    for fields, field, why in (
        ({"pipeline": "own", "question": "who?"}, "question", "takes none"),
        ({}, "question", "needs one"),
        ({"pipeline": "owl"}, "pipeline", "did you mean own?"),
        ({"pipeline": "own", "output_json_schema": "{}"}, "output_json_schema", "does not extract"),
    ):
        refused = await fails(client.jobs.SubmitJob(submitting(samples, **fields)))
        assert (refused.code, refused.error.metadata["field"]) == ("INVALID_ARGUMENT", f"spec.reasoning.{field}")
        assert why in refused.error.message
    job = (await client.jobs.SubmitJob(submitting(samples, pipeline="own"))).job
    # What is kept is what was asked for: the pipeline's own words count when it runs.
    assert not job.spec.reasoning.config.generation.model


async def test_a_mended_file_counts_with_the_next_request(client, folder, samples, fails):
    path = folder / "own.yaml"
    path.write_text(OWN.replace("MODEL", "nobody"))
    refused = await fails(client.jobs.SubmitJob(submitting(samples, pipeline="own")))
    assert "own.yaml:3: no model is called 'nobody'" in refused.error.message
    path.write_text(OWN.replace("MODEL", "reader-qwen2.5-coder-0.5b"))
    assert (await client.jobs.SubmitJob(submitting(samples, pipeline="own"))).job.name


async def test_what_a_pipeline_asks_for_has_to_be_offered(serve, folder, samples, fails):
    (folder / "own.yaml").write_text(
        "description: x\nquestion: none\nstages: [{read: {layout: true}}, summarize, verify]\n"
    )
    _, client = await serve(pipelines_dir=folder, layout_model="")
    refused = await fails(client.jobs.SubmitJob(submitting(samples, pipeline="own")))
    assert (refused.reason, "TRIPTYCH_LAYOUT_MODEL" in refused.error.message) == ("FEATURE_DISABLED", True)
