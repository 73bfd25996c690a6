"""A vision-language model that sees pixels, over the wire: a real service, a real worker, weights that were trained."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from accuracy_run import easy_vqa
from accuracy_run.vqa import ANEW, FOLDER
from PIL import Image
from workers.documents import encoded, scan

from triptych.client import specs
from triptych.v1.common_pb2 import InputSource
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
    answers, together = (after - was for after, was in zip(stack.batches("worker-vision"), before, strict=True))
    right = sum(result.text == question.answer for result, question in zip(results, rest, strict=True))
    assert right / len(rest) >= AT_LEAST_RIGHT
    # Of each answer it is told in what company it ran, as answers join and leave.
    assert answers == len(rest)
    assert together > answers


def enlarged(png, times=4):
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def test_another_question_about_an_image_does_not_encode_it_again(stack, client, sample):
    def looks():
        name = "triptych_encoder_cache_looks_total"
        return [stack.metric("worker-vision", name, model=FOLDER.name, outcome=what) for what in ("hit", "miss")]

    # Of a size that no other test asks about: nothing is known of it.
    image = encoded(enlarged(sample.images[1], 3))
    found = [looks()]
    for question, answer in (("what is the color of the rectangle?", "yellow"), ("is there a triangle?", "no")):
        assert client.generate(question, [image], ASKED, options=ANEW).text == answer
        found.append(looks())
    [hits, misses], first, second = found
    assert first == [hits, misses + 1]
    assert second == [hits + 1, misses + 1]


def test_a_page_of_a_pdf_and_parts_of_one_are_seen(client, sample):
    sheet = Image.new("RGB", (512, 256), "white")
    sheet.paste(enlarged(sample.images[1]), (0, 0))
    sheet.paste(enlarged(sample.images[2]), (256, 0))
    blob = client.upload(scan(enlarged(sample.images[0]), sheet)).name

    def color(page_number, *crop_box):
        spec = specs.vision("what is the color of the shape?", [InputSource(blob=blob)], ASKED)
        image = spec.vision.messages[0].parts[0].image
        image.page_number = page_number
        image.crop_box.extend(crop_box)
        return client.wait_job(client.submit(spec, ANEW).name, timeout_s=60).result.vision.text

    assert color(1) == "red"
    assert color(2, 0, 0, 0.5, 1) == "yellow"
    assert color(2, 0.5, 0, 1, 1) == "blue"


def test_the_command_asks_a_model_of_the_operators_own(stack, sample, tmp_path):
    file = tmp_path / "image.png"
    file.write_bytes(sample.images[0])
    asked = ("see", file, "What is the color of the shape?", "--model", FOLDER.name)
    done = stack.run(*asked, "--target", stack.record["target"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "red\n"
