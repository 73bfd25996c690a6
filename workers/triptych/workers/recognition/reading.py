"""The pages of a job on their way from the document to its result."""

from __future__ import annotations

import logging
from concurrent.futures import Future

from triptych.core.errors import TriptychError, status_of
from triptych.v1.job_pb2 import PROGRESS_UNIT_PAGE, JobEvent
from triptych.v1.ocr_pb2 import EMBEDDED_TEXT_POLICY_IGNORE, ORIENTATION_MODE_OFF, OcrConfig, OcrPage
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import Done
from triptych.workers.engines.paddle_ocr import PageImage
from triptych.workers.flight import Flight
from triptych.workers.media.pages import Pages
from triptych.workers.station import Station
from triptych.workers.supply import Supply

log = logging.getLogger("triptych.ocr")

# Pages of one job that are rendered and not yet read: enough to fill batches, few enough that the memory of many jobs
# is bounded and that a job of a thousand pages does not stand before everybody else's.
MAX_PAGES_AHEAD = 8
MAX_PIXELS_AHEAD = 64_000_000
# A page is a unit of this name and its number.
PAGE = "page:"


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
    ) -> None:
        self._attempt = attempt
        self._station = station
        self._document = document
        self._flight = flight
        self._config = config
        self._dpi = dpi
        self._done: dict[int, OcrPage] = {}
        self._untold: list[int] = []
        self._known_count = 0
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
                languages=tuple(self._config.language_codes),
                find_turn=self._config.orientation_mode != ORIENTATION_MODE_OFF,
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
        while self._untold and (next_page := self._done.get(self._untold[-1])) is not None:
            self._attempt.emit(JobEvent(ocr_page=next_page))
            self._untold.pop()
        self._tell_progress()

    def _tell_progress(self) -> None:
        self._attempt.progress("ocr", len(self._done), self._page_count, PROGRESS_UNIT_PAGE)


def _unit(number: int) -> str:
    return f"{PAGE}{number}"
