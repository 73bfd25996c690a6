"""Reads the pages of one document: renders them a few ahead, has them recognized, keeps each as it is done."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from itertools import pairwise
from typing import Protocol

from triptych.core.errors import (
    FieldInvalid,
    InputTooLarge,
    RangeOutsideSource,
    TriptychError,
    status_of,
)
from triptych.core.offered import check_offered
from triptych.v1.job_pb2 import PROGRESS_UNIT_PAGE, JobEvent
from triptych.v1.ocr_pb2 import EMBEDDED_TEXT_POLICY_IGNORE, OcrConfig, OcrPage, OcrResult, OcrSpec
from triptych.workers import works
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import Done
from triptych.workers.engines.paddle_ocr import PageImage
from triptych.workers.flight import Flight
from triptych.workers.media.pages import Pages, open_pages
from triptych.workers.station import Station
from triptych.workers.supply import Supply

log = logging.getLogger("triptych.ocr")

DEFAULT_DPI, MIN_DPI, MAX_DPI = 200, 72, 400
# Pages of one job that are rendered and not yet read: enough to fill batches, few enough that the memory of many jobs
# is bounded and that a job of a thousand pages does not stand before everybody else's.
MAX_PAGES_AHEAD = 8
MAX_PIXELS_AHEAD = 64_000_000
# A page is a unit of this name and its number.
PAGE = "page:"


class Stations(Protocol):
    """Where a model's station is had."""

    def get(self, name: str = "", /) -> Station[PageImage, OcrPage]:
        """Gives the station of a model; empty: the default one."""


def run(
    attempt: Attempt,
    spec: OcrSpec,
    stations: Stations,
    *,
    max_page_count: int = 2000,
    max_page_pixels: int = 100_000_000,
) -> OcrResult:
    """Reads the pages that the specification asks for.

    A page that fails alone is in the result with its error, as long as any page succeeds. Pages that an earlier
    attempt finished are taken from it, and those that other jobs know or read right now from them; those on which its
    worker died come last, each alone.

    Args:
        attempt: Of the job.
        spec: What to read.
        stations: Where the engine is.
        max_page_count: Most pages read.
        max_page_pixels: Most pixels of one page.

    Raises:
        FeatureDisabled: An option that no engine here offers.
        FieldInvalid, RangeOutsideSource, InputTooLarge: The pages asked for.
        MediaTypeUnsupported, MediaTypeMismatch, MediaCorrupt, MediaEncrypted: The document.
        TriptychError: What stopped the attempt; or, if no page at all could be read, the first page's error.
    """
    check_offered(attempt.spec)
    _check_config(spec.config)
    station = stations.get(spec.config.model)
    data = attempt.read(spec.input)
    with attempt.hand.unit("document"):
        opened = open_pages(
            data,
            media_type=spec.input.media_type,
            display_name=spec.input.display_name,
            max_page_pixels=max_page_pixels,
            max_page_count=max_page_count,
        )
    with opened as document:
        numbers = selected_pages(spec, document.page_count, max_page_count)
        model, dpi = station.engine.model, spec.config.render_dpi if spec.config.HasField("render_dpi") else DEFAULT_DPI
        flight = attempt.flight(works.reading(spec, model, dpi=dpi, max_page_pixels=max_page_pixels))
        reading = _Reading(attempt, station, document, flight, spec.config, dpi)
        return OcrResult(model=model, source_page_count=document.page_count, pages=reading.read(numbers))


def selected_pages(spec: OcrSpec, page_count: int, max_page_count: int) -> list[int]:
    """Gives the page numbers asked for, in the order of the document.

    Raises:
        FieldInvalid: A range is no range, or two overlap.
        RangeOutsideSource: A range ends beyond the document.
        InputTooLarge: More pages than allowed.
    """
    ranges: list[tuple[int, int]] = []
    for index, asked in enumerate(spec.pages):
        last = asked.last_page or max(page_count, asked.first_page)
        if asked.first_page < 1 or last < asked.first_page:
            raise FieldInvalid(f"pages[{index}]", "needs 1 <= first_page <= last_page")
        if last > page_count:
            raise RangeOutsideSource(f"page {last} was asked for, but the document has {page_count}")
        ranges.append((asked.first_page, last))
    ranges = sorted(ranges) or [(1, page_count)]
    if any(later[0] <= earlier[1] for earlier, later in pairwise(ranges)):
        raise FieldInvalid("pages", "ranges overlap")
    count = sum(last - first + 1 for first, last in ranges)
    if count > max_page_count:
        raise InputTooLarge(f"{count} pages in one job", limit=max_page_count, value=count)
    return [number for first, last in ranges for number in range(first, last + 1)]


class _Reading:
    """The pages of one attempt on their way from the document to the result."""

    def __init__(
        self,
        attempt: Attempt,
        station: Station[PageImage, OcrPage],
        document: Pages,
        flight: Flight,
        config: OcrConfig,
        dpi: int,
    ) -> None:
        self._attempt = attempt
        self._station = station
        self._document = document
        self._flight = flight
        self._config = config
        self._dpi = dpi
        self._done: dict[int, OcrPage] = {}
        self._known_count = 0
        self._errors: list[Exception] = []
        self._page_count = 0

    def read(self, numbers: list[int]) -> list[OcrPage]:
        """Reads the pages and gives them in the same order."""
        self._page_count = len(numbers)
        self._tell_progress()
        parts = self._attempt.parts()
        for number in numbers:
            if (part := parts.get(_unit(number))) is not None:
                # Told again: watchers drop what an earlier attempt told.
                self._tell(OcrPage.FromString(part))
        for value in self._flight.look([_unit(number) for number in numbers if number not in self._done]):
            self._know(value)
        missing = [number for number in numbers if number not in self._done]
        self._attempt.afford(self._station, len(missing), "pages")
        suspects = [number for number in missing if self._attempt.hand.suspect(_unit(number))]
        self._read([number for number in missing if number not in suspects])
        for number in suspects:
            self._read([number])
        if len(self._errors) == len(numbers):
            raise self._errors[0]
        self._attempt.cached = self._known_count == len(numbers)
        return [self._done[number] for number in numbers]

    def _read(self, numbers: list[int]) -> None:
        waiting = Supply(self._flight, map(_unit, numbers), self._know)
        ahead: dict[Future[Done[OcrPage]], tuple[int, int, int]] = {}
        while self._fill(ahead, waiting) or ahead or waiting.await_others():
            futures = list(ahead)
            for index, outcome in self._attempt.results(futures):
                number, dpi, _ = ahead.pop(futures[index])
                if isinstance(outcome, Exception):
                    self._fail(number, outcome)
                else:
                    outcome.value.render_dpi = dpi
                    self._finish(number, outcome.value)
                break  # there is room for another page now

    def _fill(self, ahead: dict[Future[Done[OcrPage]], tuple[int, int, int]], waiting: Supply) -> bool:
        """Renders and submits pages until enough are ahead; False if there are no more."""
        while len(ahead) < MAX_PAGES_AHEAD and sum(pixels for _, _, pixels in ahead.values()) < MAX_PIXELS_AHEAD:
            unit = waiting.next()
            if unit is None:
                return False
            number = int(unit.removeprefix(PAGE))
            try:
                self._attempt.hand.begin(_unit(number))
                page = self._embedded(number)
                if page is not None:
                    self._finish(number, page)
                    continue
                pixels, dpi = self._document.draw(number, dpi=self._dpi, check=self._attempt.check)
            except (TriptychError, MemoryError) as error:
                self._attempt.check()
                self._fail(number, error)
                continue
            item = PageImage(
                pixels=pixels,
                words=self._config.enable_words,
                min_confidence=self._config.min_confidence,
                stopped=self._attempt.stopped,
            )
            future = self._attempt.submit(self._station, item, unit=_unit(number))
            ahead[future] = number, dpi, pixels.shape[0] * pixels.shape[1]
        return True

    def _embedded(self, number: int) -> OcrPage | None:
        if self._config.embedded_text_policy == EMBEDDED_TEXT_POLICY_IGNORE:
            return None
        return self._document.embedded_text(number, dpi=self._dpi, words=self._config.enable_words)

    def _finish(self, number: int, page: OcrPage) -> None:
        page.page_number = number
        value = page.SerializeToString()
        self._attempt.hand.save_part(_unit(number), value)
        self._flight.keep(value, _unit(number))
        self._tell(page)

    def _know(self, value: bytes) -> None:
        self._known_count += 1
        self._tell(OcrPage.FromString(value))

    def _fail(self, number: int, error: Exception) -> None:
        # Not kept: another attempt may be luckier.
        self._attempt.hand.settle(_unit(number))
        if not isinstance(error, TriptychError):
            log.error("page %d of job %s failed", number, self._attempt.job_id, exc_info=error)
        self._flight.release(_unit(number))
        self._errors.append(error)
        self._tell(OcrPage(page_number=number, error=status_of(error)))

    def _tell(self, page: OcrPage) -> None:
        self._done[page.page_number] = page
        self._attempt.emit(JobEvent(ocr_page=page))
        self._tell_progress()

    def _tell_progress(self) -> None:
        self._attempt.progress("ocr", len(self._done), self._page_count, PROGRESS_UNIT_PAGE)


def _unit(number: int) -> str:
    return f"{PAGE}{number}"


def _check_config(config: OcrConfig) -> None:
    if config.HasField("render_dpi") and not MIN_DPI <= config.render_dpi <= MAX_DPI:
        raise FieldInvalid("config.render_dpi", f"must be {MIN_DPI} to {MAX_DPI}")
    if config.HasField("min_confidence") and not 0 <= config.min_confidence <= 1:
        raise FieldInvalid("config.min_confidence", "must be 0 to 1")
