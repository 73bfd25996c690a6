"""A vision-language model that sees pixels, over the wire: a real service, a real worker, weights that were trained."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from accuracy_run import easy_vqa
from accuracy_run.vqa import ANEW, FOLDER

from triptych.v1.vision_pb2 import FinishReason, GenerationConfig

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(600)]
CALLERS = 16
AT_LEAST_RIGHT = 0.95
ASKED = GenerationConfig(model=FOLDER.name, max_output_tokens=16)


@pytest.fixture(scope="module")
def sample(data_dir):
    return easy_vqa.read(data_dir / "easy-vqa", "test")


def test_concurrent_questions_about_images_share_batches_and_are_answered_right(stack, client, sample):
    def ask(question):
        return client.generate(question.text, [sample.images[question.image]], ASKED, options=ANEW)

    first, *rest = sample.questions
    result = ask(first)
    assert (result.text, result.finish_reason) == (first.answer, FinishReason.FINISH_REASON_STOP)
    assert (result.model.model, result.model.engine.partition("/")[0]) == (FOLDER.name, "transformers")
    before = stack.batches("worker-vision")
    with ThreadPoolExecutor(CALLERS) as pool:
        results = list(pool.map(ask, rest))
    batches, items = (after - was for after, was in zip(stack.batches("worker-vision"), before, strict=True))
    right = sum(result.text == question.answer for result, question in zip(results, rest, strict=True))
    assert right / len(rest) >= AT_LEAST_RIGHT
    assert items == len(rest)
    assert batches < items


def test_the_command_asks_a_model_of_the_operators_own(stack, sample, tmp_path):
    file = tmp_path / "image.png"
    file.write_bytes(sample.images[0])
    asked = ("see", file, "What is the color of the shape?", "--model", FOLDER.name)
    done = stack.run(*asked, "--target", stack.record["target"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "red\n"
