"""The pages of a job on their way from the document to its result."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from triptych.core.errors import TriptychError, status_of
from triptych.v1.job_pb2 import PROGRESS_UNIT_PAGE, JobEvent
from triptych.v1.ocr_pb2 import EMBEDDED_TEXT_POLICY_IGNORE, ORIENTATION_MODE_OFF, OcrConfig, OcrPage
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import Done
from triptych.workers.engines.paddle_ocr import PageImage
from triptych.workers.flight import Flight
from triptych.workers.media.pages import Pages, Pixels
from triptych.workers.recognition.structure import Steps, Structure
from triptych.workers.station import Station
from triptych.workers.supply import Supply

log = logging.getLogger("triptych.ocr")

# Pages of one job that are rendered and not yet read: enough to fill batches, few enough that the memory of many jobs
# is bounded and that a job of a thousand pages does not stand before everybody else's.
MAX_PAGES_AHEAD = 8
MAX_PIXELS_AHEAD = 64_000_000
# So many at first, and as many more for each that was read: where the engine is busy, the first page of a long document
# would else wait for a batch of all of them; where it is idle, the second one is ready when the first is read.
FIRST_PAGES_AHEAD = 2
# A page is a unit of this name and its number.
PAGE = "page:"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ahead:
    """A page that is rendered, on its way through the engines."""

    number: int
    size_px: int
    steps: Steps


class Reading:
    """The pages of one attempt on their way from the document to the result; whoever watches is told them in order."""

    def __init__(
        self,
        attempt: Attempt,
        station: Station[PageImage, OcrPage],
        document: Pages,
        flight: Flight,
        config: OcrConfig,
        dpi: int,
        structure: Structure | None = None,
    ) -> None:
        self._attempt = attempt
        self._station = station
        self._document = document
        self._flight = flight
        self._config = config
        self._dpi = dpi
        self._structure = structure
        self._ahead: dict[Future[Done[Any]], _Ahead] = {}
        self._done: dict[int, OcrPage] = {}
        self._untold: list[int] = []
        self._known_count = 0
        self._read_count = 0
        self._errors: list[Exception] = []
        self._page_count = 0

    def read(self, numbers: list[int]) -> list[OcrPage]:
        """Reads the pages and gives them in the same order."""
        self._page_count = len(numbers)
        self._untold = numbers[::-1]
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
        while self._fill(waiting) or self._ahead or waiting.await_others():
            futures = list(self._ahead)
            for index, outcome in self._attempt.results(futures):
                self._take(futures[index], outcome)
                break  # there is room for another page now

    def _fill(self, waiting: Supply) -> bool:
        """Renders and submits pages until enough are ahead; False if there are no more."""
        while self._has_room():
            unit = waiting.next()
            if unit is None:
                return False
            self._begin(int(unit.removeprefix(PAGE)))
            self._heed()
        return True

    def _has_room(self) -> bool:
        pages = min(MAX_PAGES_AHEAD, FIRST_PAGES_AHEAD * (1 + self._read_count))
        return len(self._ahead) < pages and sum(page.size_px for page in self._ahead.values()) < MAX_PIXELS_AHEAD

    def _begin(self, number: int) -> None:
        """Reads the page's own text, or renders the page and submits it."""
        try:
            self._attempt.hand.begin(_unit(number))
            page = self._embedded(number)
            if page is not None and self._structure is None:
                self._finish(number, page)
                return
            pixels, dpi = self._document.draw(number, dpi=self._dpi, check=self._heed)
        except (TriptychError, MemoryError) as error:
            self._attempt.check()
            self._fail(number, error)
            return
        steps = self._steps(number, page, pixels, dpi)
        size_px = pixels.shape[0] * pixels.shape[1]
        self._ahead[next(steps)] = _Ahead(number=number, size_px=size_px, steps=steps)

    def _steps(self, number: int, page: OcrPage | None, pixels: Pixels, dpi: int) -> Steps:
        """Reads a page, unless it brings its text, and finds its layout, if that is wanted."""
        if page is None:
            item = PageImage(
                pixels=pixels,
                words=self._words,
                min_confidence=self._config.min_confidence,
                languages=tuple(self._config.language_codes),
                find_turn=self._config.orientation_mode != ORIENTATION_MODE_OFF,
                stopped=self._attempt.stopped,
            )
            # The later steps of a suspect run alone, too: it leaves the gate when it is finished.
            unit = "" if self._structure and self._attempt.hand.suspect(_unit(number)) else _unit(number)
            page = yield self._attempt.submit(self._station, item, unit=unit)
            page.render_dpi = dpi
        if self._structure:
            page = yield from self._structure.steps(page, pixels)
            if not self._config.enable_words:
                for line in page.lines:
                    del line.words[:]
        return page

    @property
    def _words(self) -> bool:
        # Cells of tables are filled word by word.
        return self._config.enable_words or self._structure is not None

    def _heed(self) -> None:
        """Tells what was read while another page was rendered; raises what stopped the attempt."""
        self._attempt.check()
        for read in [future for future in self._ahead if future.done()]:
            for _, outcome in self._attempt.results([read]):
                self._take(read, outcome)

    def _take(self, future: Future[Done[Any]], outcome: Done[Any] | Exception) -> None:
        """Takes a page from one of its steps to the next."""
        page = self._ahead.pop(future)
        self._read_count += 1
        if isinstance(outcome, Exception):
            self._fail(page.number, outcome)
            return
        try:
            self._ahead[page.steps.send(outcome.value)] = page
        except StopIteration as end:
            self._finish(page.number, end.value)
        except (TriptychError, MemoryError) as error:
            self._attempt.check()
            self._fail(page.number, error)

    def _embedded(self, number: int) -> OcrPage | None:
        if self._config.embedded_text_policy == EMBEDDED_TEXT_POLICY_IGNORE:
            return None
        return self._document.embedded_text(number, dpi=self._dpi, words=self._words, check=self._heed)

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
        while self._untold and (next_page := self._done.get(self._untold[-1])) is not None:
            self._attempt.emit(JobEvent(ocr_page=next_page))
            self._untold.pop()
        self._tell_progress()

    def _tell_progress(self) -> None:
        self._attempt.progress("ocr", len(self._done), self._page_count, PROGRESS_UNIT_PAGE)


def _unit(number: int) -> str:
    return f"{PAGE}{number}"
