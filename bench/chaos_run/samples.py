"""Small real inputs of every kind, each with what has to come of it."""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from triptych.client import specs
from triptych.v1.common_pb2 import InputSource, PageRange
from triptych.v1.job_pb2 import JobResult, JobSpec
from triptych.v1.ocr_pb2 import OcrConfig
from triptych.v1.vision_pb2 import GenerationConfig

CLIPS = Path(__file__).parents[2] / "tests" / "data" / "audio"
DPI = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A job to ask for.

    Attributes:
        name: What it is, for the table.
        spec: What is sent, its bytes inline.
        truth: What its text must be; of an answer, what must be in it.
        reason: The error that it must end with instead.
    """

    name: str
    spec: JobSpec
    truth: str = ""
    reason: str = ""

    def wrong(self, result: JobResult) -> str:
        """Gives what is wrong with a result; empty if nothing is."""
        text = text_of(result)
        right = self.truth in text if self.name == "reasoning" else self.truth == text
        return "" if right and not self.reason else f"{text!r} instead of {self.reason or repr(self.truth)}"


class Samples:
    """Draws samples; each is new to the suite, so that nothing is answered from what it knows already.

    Args:
        rng: What is drawn by.
        heard: Clip -> its text, as the same engine heard it in peace.
    """

    def __init__(self, rng: random.Random, heard: dict[str, str]) -> None:
        self._rng = rng
        self._heard = heard
        self._makers: dict[Callable[[], Sample], int] = {
            self._page: 40, self._document: 22, self._clip: 8, self._question: 12, self._reasoning: 12, self._bad: 6,
        }  # fmt: skip

    def draw(self) -> Sample:
        """Gives the next one."""
        (make,) = self._rng.choices(list(self._makers), list(self._makers.values()))
        return make()

    def of(self, kind: str) -> Sample:
        """Gives a small one for the workers of a kind."""
        makers = {"transcription": self._clip, "vision": self._question, "reasoning": self._reasoning}
        return makers.get(kind, self._page)()

    def one_of_each(self) -> list[Sample]:
        """Gives one of every kind."""
        return [make() for make in self._makers]

    def _number(self) -> int:
        return self._rng.randrange(10_000, 100_000)

    def _page(self) -> Sample:
        line = f"Invoice number {self._number()}"
        return Sample(name="ocr, a page", spec=specs.ocr(InputSource(content=png(line))), truth=line)

    def _document(self) -> Sample:
        count, number = self._rng.randrange(6, 13), self._number()
        pages = [f"Page {page} of {count}, file {number}" for page in range(1, count + 1)]
        spec = specs.ocr(InputSource(content=pdf(pages)), OcrConfig(render_dpi=DPI))
        return Sample(name="ocr, a document", spec=spec, truth="\f".join(pages))

    def _clip(self) -> Sample:
        name = self._rng.choice(list(self._heard))
        return Sample(name="transcription", spec=clip(name), truth=self._heard[name])

    def _question(self) -> Sample:
        number = str(self._number())
        prompt, config = "What is the invoice number? Answer with the number only.", GenerationConfig()
        config.max_output_tokens = 16
        spec = specs.vision(prompt, [InputSource(content=png(f"Invoice number {number}"))], config)
        return Sample(name="vision", spec=spec, truth=number)

    def _reasoning(self) -> Sample:
        number = str(self._number())
        paper = InputSource(content=png(f"Invoice number {number}"))
        spec = specs.reasoning("What is the invoice number?", [paper])
        return Sample(name="reasoning", spec=spec, truth=number)

    def _bad(self) -> Sample:
        good = png(f"Invoice number {self._number()}")
        broken = specs.ocr(InputSource(content=good[: len(good) // 2]))
        short = specs.ocr(InputSource(content=pdf(["only page"])), pages=[PageRange(first_page=1, last_page=3)])
        noise = specs.transcription(InputSource(content=b"ID3\x04garbage" * 50))
        spec, reason = self._rng.choice(
            [(broken, "MEDIA_CORRUPT"), (short, "RANGE_OUTSIDE_SOURCE"), (noise, "MEDIA_CORRUPT")]
        )
        return Sample(name="bad input", spec=spec, reason=reason)


def clip(name: str) -> JobSpec:
    """A recording of some seconds."""
    return specs.transcription(InputSource(content=(CLIPS / name).read_bytes()))


def clips() -> list[str]:
    """Gives the names of all recordings."""
    return sorted(path.name for path in CLIPS.glob("*.opus"))


def text_of(result: JobResult) -> str:
    """Gives all that a result says."""
    kind = result.WhichOneof("result")
    if kind == "ocr":
        return "\f".join(page.text for page in result.ocr.pages)
    return str(result.reasoning.answer.text if kind == "reasoning" else getattr(result, kind or "vision").text)


def png(line: str) -> bytes:
    """A picture with one line of print."""
    file = io.BytesIO()
    _page(line).save(file, "PNG")
    return file.getvalue()


def pdf(lines: list[str]) -> bytes:
    """A scanned document with one line on each page."""
    file = io.BytesIO()
    first, *rest = [_page(line) for line in lines]
    first.save(file, "PDF", save_all=True, append_images=rest, resolution=DPI)
    return file.getvalue()


def _page(line: str) -> Image.Image:
    image = Image.new("L", (520, 74), "white")
    ImageDraw.Draw(image).text((20, 15), line, fill="black", font=ImageFont.load_default(28))
    return image
