"""A vision-language model that was trained, small enough to travel with the tests: what it says is right.

It is built as an operator's own model is, from an entry of a catalogue file.
"""

import hashlib
import io
import json
import re

import numpy as np
import pytest
from accuracy_run import easy_vqa, vqa
from PIL import Image

from triptych.core.catalog import Catalog
from triptych.core.settings import Settings
from triptych.v1.vision_pb2 import FinishReason
from triptych.workers.engines.generation import Prompt
from triptych.workers.stations import Stations

PATIENCE_S = 120
MAX_MODEL_BYTES = 5_000_000
AT_LEAST_RIGHT = 0.95


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    settings = Settings(
        _env_file=None,
        models_file=vqa.catalogue(vqa.FOLDER, tmp_path_factory.mktemp("catalogue")),
        vision_model=vqa.FOLDER.name,
        device="cpu",
        engine_threads=1,
    )
    stations = Stations(settings, "vision", Catalog.load(settings))
    with stations.lent() as loan:
        yield loan.get()
    stations.stop()


@pytest.fixture(scope="module")
def sample(data_dir):
    return easy_vqa.read(data_dir / "easy-vqa", "test")


@pytest.fixture(scope="module")
def images(sample):
    return {number: np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for number, png in sample.images.items()}


def prompt(*parts, **options):
    return Prompt(turns=(("user", parts),), **{"max_output_tokens": 32, **options})


def together(station, prompts):
    """Asks all at once; gives what came of each, and of how many the largest batch was."""
    futures = [station.submit(one, lane=1, deadline=None) for one in prompts]
    done = [future.result(PATIENCE_S) for future in futures]
    return [one.value for one in done], max(one.batch_size for one in done)


def alone(station, prompts):
    """Asks one after the other."""
    return [station.submit(one, lane=1, deadline=None).result(PATIENCE_S).value for one in prompts]


def test_it_answers_questions_about_images_it_never_saw(station, sample, images):
    results, batch = together(station, [prompt(images[one.image], one.text) for one in sample.questions])
    right = [result.text == one.answer for result, one in zip(results, sample.questions, strict=True)]
    assert len(right) == 450
    assert sum(right) / len(right) >= AT_LEAST_RIGHT
    # A word, then the end of the turn: nothing of it is in the text.
    assert {result.finish_reason for result in results} == {FinishReason.FINISH_REASON_STOP}
    assert {result.usage.output_token_count for result in results} == {2}
    assert batch > 1


def test_a_batch_of_all_sorts_says_what_each_says_alone(station, images):
    first, second, third = (images[number] for number in (0, 1, 2))
    prompts = [
        prompt(first, "what is the color of the shape?"),
        prompt(first, "Describe the image."),
        prompt(second, "What shape is present? Answer in JSON."),
        prompt("is there a red shape?"),
        prompt(first, second, "is there a circle in the image?"),
        prompt(second, "and", third, "Describe the image in JSON."),
        prompt(np.kron(third, np.ones((3, 3, 1), np.uint8)), "what shape is in the image?"),
        prompt(third[:40], "Naïve 日本語 \x00 🙂?"),
        Prompt(
            turns=(
                ("system", ("Be brief.",)),
                ("user", (second, "what color is the shape?")),
                ("assistant", ("yellow",)),
                ("user", ("is there a circle?",)),
            ),
            max_output_tokens=4,
        ),
    ] * 2
    results, batch = together(station, prompts)
    assert [(one.text, one.finish_reason) for one in results] == [
        (one.text, one.finish_reason) for one in alone(station, prompts)
    ]
    assert batch > 1


def test_it_describes_in_a_sentence_and_in_json(station, images):
    asked = [prompt(images[0], ask) for ask in ("Describe the image.", "Describe the image in JSON.")]
    [sentence, told] = alone(station, asked)
    assert sentence.text == "The image contains a red triangle."
    assert json.loads(told.text) == {"color": "red", "shape": "triangle"}


def test_its_text_is_told_as_it_grows(station, images):
    told = []
    asked = prompt(images[0], "Describe the image.", on_text=lambda text, count: told.append((text, count)))
    [result] = alone(station, [asked])
    assert told[-1][0] == result.text
    assert [count for _, count in told] == sorted({count for _, count in told})
    assert len(told) > 3


def test_an_image_enlarged_is_seen_as_it_was(station, images):
    asked = "what is the color of the shape?"
    enlarged = np.kron(images[1], np.ones((8, 8, 1), np.uint8))
    before, after = alone(station, [prompt(images[1], asked), prompt(enlarged, asked)])
    assert before.text == after.text == "yellow"


def test_the_files_are_small_half_precision_and_those_of_the_readme():
    weights = vqa.FOLDER / "model.safetensors"
    assert sum(path.stat().st_size for path in vqa.FOLDER.iterdir()) < MAX_MODEL_BYTES
    assert json.loads((vqa.FOLDER / "config.json").read_text())["dtype"] == "float16"
    said = re.search(r"[0-9a-f]{64}", (vqa.FOLDER / "README.md").read_text())
    assert said.group() == hashlib.sha256(weights.read_bytes()).hexdigest()
