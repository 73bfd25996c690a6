"""Continues a conversation over images: loads them, has the answer generated, and tells it as it grows."""

from __future__ import annotations

import queue
import secrets
import time
from contextlib import suppress
from typing import Protocol

from triptych.core.errors import FieldInvalid, RangeOutsideSource
from triptych.core.output_options import check_output_options
from triptych.v1.common_pb2 import InputSource
from triptych.v1.job_pb2 import JobEvent, ProgressUnit, TextDelta
from triptych.v1.vision_pb2 import ChatMessage, ChatRole, GenerationConfig, ImagePart, VisionResult, VisionSpec
from triptych.workers import works
from triptych.workers.attempt import Attempt
from triptych.workers.engines.generation import Part, Pixels, Prompt
from triptych.workers.engines.output_rules import OutputRules
from triptych.workers.flight import WHOLE
from triptych.workers.kinds.output_check import check_output, check_possible
from triptych.workers.media.page_limits import DEFAULT_LIMITS, PageLimits
from triptych.workers.media.pages import Pages, open_pages
from triptych.workers.route import Route

DEFAULT_MAX_OUTPUT_TOKENS = 1024
MAX_TURNS = 32
RENDER_DPI = 200
# The one unit of such a job.
ANSWER = "answer"
# Text is told in pieces of this age, not token by token.
TELL_EVERY_S = 0.1
_ROLES = {
    ChatRole.CHAT_ROLE_SYSTEM: "system",
    ChatRole.CHAT_ROLE_USER: "user",
    ChatRole.CHAT_ROLE_ASSISTANT: "assistant",
}

# All the text so far and its tokens, again and again; None ends it.
Told = queue.SimpleQueue[tuple[str, int] | None]


class Stations(Protocol):
    """Where a model's station is had."""

    def get(self, name: str = "", /) -> Route[Prompt, VisionResult]:
        """Gives the station of a model, or what stands for it; empty: the default one."""


def run(attempt: Attempt, spec: VisionSpec, stations: Stations, limits: PageLimits = DEFAULT_LIMITS) -> VisionResult:
    """Generates the next turn, or gives that which another job got for the very same request.

    Args:
        attempt: Of the job.
        spec: The conversation and how to continue it.
        stations: Where the engine is.
        limits: What decoding one image may take.

    Raises:
        FieldInvalid, SchemaInvalid: The conversation or its options.
        RangeOutsideSource, MediaTypeUnsupported, MediaTypeMismatch, MediaCorrupt, MediaEncrypted: An image.
        InputTooLarge: An image's claimed size.
        OutputInvalid: The model wrote something else than it was held to.
        TriptychError: What stopped the attempt.
    """
    _check(spec)
    check_output_options(spec, "vision")
    rules = OutputRules.of(spec.config)
    check_possible(rules)
    station = stations.get(spec.config.model)
    limit = spec.config.max_output_tokens if spec.config.HasField("max_output_tokens") else DEFAULT_MAX_OUTPUT_TOKENS
    model = station.engine.model
    loader = _Loader(attempt, limits)
    # Before what is known is looked up: it is for those alone who can open the documents.
    loader.check(spec)
    work = works.generating(spec, model, max_output_tokens=limit, max_page_pixels=limits.max_page_pixels)
    flight = attempt.flight(work)
    # What a model outside may answer is not held while it is there: a job that has to stay here would wait for it.
    raw = next(flight.look([WHOLE]), None) if station.may_leave else flight.find()
    if raw is not None and station.stands(known := VisionResult.FromString(raw)):
        return _told(attempt, known, limit)
    attempt.progress("decode")
    attempt.hand.begin(ANSWER)
    turns = tuple((_ROLES[message.role], loader.parts(message)) for message in spec.messages)
    told: Told = queue.SimpleQueue()
    prompt = _prompt(attempt, turns, spec.config, rules, limit, told)
    future = attempt.submit(station, prompt, unit=ANSWER)
    # The engine's thread only puts text into a queue: telling it costs a round trip, and that is ours.
    future.add_done_callback(lambda _: told.put(None))
    _tell(attempt, told, limit)
    result = attempt.result(future).value
    check_output(rules, result)
    # One of a model outside is not what the others want.
    if result.model.model == model.model:
        flight.keep(result.SerializeToString())
    return result


def _told(attempt: Attempt, known: VisionResult, max_output_tokens: int) -> VisionResult:
    """Tells watchers what another job got, as if it were generated now."""
    attempt.cached = True
    if known.text:
        attempt.emit(JobEvent(text_delta=TextDelta(text=known.text)))
    count = known.usage.output_token_count
    attempt.progress("generate", count, max_output_tokens, ProgressUnit.PROGRESS_UNIT_TOKEN)
    return known


def _prompt(
    attempt: Attempt,
    turns: tuple[tuple[str, tuple[Part, ...]], ...],
    config: GenerationConfig,
    rules: OutputRules,
    max_output_tokens: int,
    told: Told,
) -> Prompt:
    return Prompt(
        turns=turns,
        tenant=attempt.tenant,
        max_output_tokens=max_output_tokens,
        temperature=config.temperature,
        top_p=config.top_p if config.HasField("top_p") else 1.0,
        stop_sequences=tuple(config.stop_sequences),
        rules=rules,
        stopped=attempt.stopped,
        on_text=lambda text, token_count: told.put((text, token_count)),
        seed=config.seed if config.HasField("seed") else secrets.randbits(62),
    )


def _tell(attempt: Attempt, told: Told, max_output_tokens: int) -> None:
    """Tells text as it comes, several tokens at a time, until the item has ended."""
    attempt.progress("generate", 0, max_output_tokens, ProgressUnit.PROGRESS_UNIT_TOKEN)
    text, token_count, said, last, ended = "", 0, 0, 0.0, False
    while not ended:
        with suppress(queue.Empty):
            news = told.get(timeout=TELL_EVERY_S)
            ended = news is None
            text, token_count = news or (text, token_count)
        attempt.check()
        # After its batch failed it begins anew: what was said is not said twice.
        if len(text) > said and (ended or time.monotonic() - last >= TELL_EVERY_S):
            attempt.emit(JobEvent(text_delta=TextDelta(text=text[said:])))
            attempt.progress("generate", token_count, max_output_tokens, ProgressUnit.PROGRESS_UNIT_TOKEN)
            said, last = len(text), time.monotonic()


class _Loader:
    """Turns the parts of messages into text and pixels."""

    def __init__(self, attempt: Attempt, limits: PageLimits) -> None:
        self._attempt = attempt
        self._limits = limits

    def check(self, spec: VisionSpec) -> None:
        """Opens each document and closes it again; raises what is wrong with it, or with its password."""
        images = [part.image.input for message in spec.messages for part in message.parts if part.HasField("image")]
        for source in {image.SerializeToString(): image for image in images}.values():
            with self._attempt.hand.unit("document"), self._opened(source):
                pass

    def parts(self, message: ChatMessage) -> tuple[Part, ...]:
        """Gives a turn's text and images."""
        return tuple(part.text if part.HasField("text") else self._pixels(part.image) for part in message.parts)

    def _pixels(self, image: ImagePart) -> Pixels:
        with self._opened(image.input) as document:
            number = image.page_number or 1
            if number > document.page_count:
                raise RangeOutsideSource(f"page {number} of a document of {document.page_count}")
            pixels, _dpi = document.draw(number, dpi=RENDER_DPI, check=self._attempt.check)
        return _cropped(pixels, list(image.crop_box)) if image.crop_box else pixels

    def _opened(self, source: InputSource) -> Pages:
        return open_pages(self._attempt.open(source), source, self._limits, check=self._attempt.check)


def _cropped(pixels: Pixels, box: list[float]) -> Pixels:
    height, width = pixels.shape[:2]
    x_min, y_min, x_max, y_max = box
    cut = pixels[int(y_min * height) : int(y_max * height), int(x_min * width) : int(x_max * width)]
    if not cut.size:
        raise FieldInvalid("crop_box", "holds no pixel")
    return cut


def _check(spec: VisionSpec) -> None:
    if not spec.messages or spec.messages[-1].role != ChatRole.CHAT_ROLE_USER:
        raise FieldInvalid("messages", "the last turn must be the user's")
    if len(spec.messages) > MAX_TURNS:
        raise FieldInvalid("messages", f"at most {MAX_TURNS} turns")
    for index, message in enumerate(spec.messages):
        if message.role not in _ROLES:
            raise FieldInvalid(f"messages[{index}].role", "must be system, user or assistant")
        for part in message.parts:
            box = part.image.crop_box
            if box and not (len(box) == 4 and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
                raise FieldInvalid(
                    f"messages[{index}].crop_box", "needs 0 <= min < max <= 1, as x_min, y_min, x_max, y_max"
                )
