"""Share of questions about images that a vision-language model answers with the very word."""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from accuracy_run import easy_vqa
from accuracy_run.easy_vqa import Question
from accuracy_run.service import service

from triptych.client import Client
from triptych.core.errors import TriptychError
from triptych.v1.job_pb2 import CachePolicy, JobOptions
from triptych.v1.vision_pb2 import FinishReason, GenerationConfig

FOLDER = Path(__file__).parents[2] / "tests" / "models" / "easy-vqa"
# Longer than any answer: what has not ended by then is wrong.
MAX_OUTPUT_TOKENS = 8
# What is measured is what the model sees, not what it saw before.
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)
CATALOGUE = """\
[models.{name}]
kind = "vision"
engine = "transformers"
licence = "NOASSERTION"
source = {source}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of one question.

    Attributes:
        said: The whole text; empty if the job failed.
        ended: Whether the model itself ended it.
        failure: Why it failed, or empty.
    """

    id: str
    question: Question
    said: str
    ended: bool = True
    failure: str = ""

    @property
    def right(self) -> bool:
        """Whether the text is the answer, and nothing else."""
        return self.ended and self.said == self.question.answer

    def line(self) -> str:
        """Gives it in one line."""
        verdict = "right" if self.right else f"wrong, {self.question.answer}"
        return f"{self.id}  {self.question.text}  {self.failure or self.said}  {verdict}"


def accuracy(found: Sequence[Seen]) -> float:
    """Gives the share that is right; a failed job is not. NaN if there are none."""
    return sum(one.right for one in found) / len(found) if found else float("nan")


def last_line(found: Sequence[Seen]) -> str:
    """Gives the figures as programs read them."""
    return f"accuracy {accuracy(found):.3f} questions {len(found)}"


def table(found: Sequence[Seen]) -> str:
    """Gives the figures by what is asked for."""
    groups: dict[str, list[Seen]] = defaultdict(list)
    for one in found:
        groups[one.question.answer].append(one)
    lines = ["| answer | questions | accuracy |", "|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| {answer} | {len(group)} | {accuracy(group):.3f} |" for answer, group in sorted(groups.items()))]
    )


def catalogue(folder: Path, place: Path) -> Path:
    """Writes the file by which an operator names a model of their own, and gives it.

    Args:
        folder: Of the model, as transformers saves one; its name becomes the model's.
        place: Folder for the file.
    """
    file = place / "models.toml"
    # A string of JSON is one of TOML too.
    file.write_text(CATALOGUE.format(name=folder.name, source=json.dumps(f"dir:{folder.resolve()}")), "utf-8")
    return file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what only this kind has."""
    parser.add_argument("--folder", type=Path, default=FOLDER, help="model of the service that is started")
    parser.add_argument("--min-accuracy", type=float, help="exit with 1 if it is lower (rounded to a thousandth)")
    parser.set_defaults(callers=32)


def run(given: argparse.Namespace) -> int:
    """Measures, and prints what was found; gives the exit code."""
    data = easy_vqa.read(given.manifest, "test")
    asked = [(f"{question.image}-{number}", question) for number, question in enumerate(data.questions)]
    with ExitStack() as after:
        place = Path(after.enter_context(tempfile.TemporaryDirectory()))
        file = catalogue(given.folder, place)
        own = {"TRIPTYCH_MODELS_FILE": str(file), "TRIPTYCH_VISION_MODEL": given.folder.name}
        client = after.enter_context(service(given.target, given.api_key, "vision", own))
        pool = after.enter_context(ThreadPoolExecutor(given.callers))
        wanted = [(name, question) for name, question in asked if name.startswith(given.only)]
        found = list(pool.map(lambda one: _see(client, *one, data.images[one[1].image], given.model), wanted))
    if given.predictions:
        told = {one.id: one.said for one in found}
        given.predictions.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if given.per_item:
        for one in found:
            print(one.line())
    print(table(found))
    failed = [one for one in found if one.failure]
    for one in failed:
        print(f"{one.id} failed: {one.failure}")
    print(last_line(found))
    bound = given.min_accuracy
    return int(bool(failed) or (bound is not None and not round(accuracy(found), 3) >= bound))


def _see(client: Client, name: str, question: Question, image: bytes, model: str) -> Seen:
    config = GenerationConfig(model=model, max_output_tokens=MAX_OUTPUT_TOKENS)
    try:
        result = client.generate(question.text, [image], config, options=ANEW)
    except TriptychError as error:
        return Seen(id=name, question=question, said="", failure=f"{error.reason}: {error.message}")
    ended = result.finish_reason == FinishReason.FINISH_REASON_STOP
    return Seen(id=name, question=question, said=result.text, ended=ended)
