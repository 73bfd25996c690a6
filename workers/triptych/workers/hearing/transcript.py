"""The result of a transcription as it grows."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from triptych.v1.common_pb2 import ModelRef, TimeRange
from triptych.v1.job_pb2 import PROGRESS_UNIT_AUDIO_MS, JobEvent
from triptych.v1.transcription_pb2 import (
    TRANSCRIPTION_TASK_TRANSLATE,
    TranscriptionConfig,
    TranscriptionResult,
    TranscriptSegment,
)
from triptych.workers.attempt import Attempt
from triptych.workers.hearing.clips import duration_ms
from triptych.workers.hearing.recording import Recording
from triptych.workers.hearing.sentences import segments_of
from triptych.workers.hearing.windows import Stretch, Window
from triptych.workers.media.resampling import SAMPLE_RATE_HZ

# Languages written without blanks between sentences.
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})


class Transcript:
    """Puts the segments of all channels into the order of time, and tells watchers of each as soon as that is settled.

    Args:
        attempt: Tells them.
        recording: What is transcribed.
        config: How.
        model: Which hears it.
    """

    def __init__(self, attempt: Attempt, recording: Recording, config: TranscriptionConfig, model: ModelRef) -> None:
        self._attempt = attempt
        self._recording = recording
        self._config = config
        self._result = TranscriptionResult(
            model=model, language_code=config.language_code, channel_count=recording.file.channel_count
        )
        self._text: list[str] = []
        self._confidences: dict[int | None, float] = {}
        self._awaited: dict[Window, None] = {}
        # (start, channel, number, segment): the number keeps what begins together in the order of its channel.
        self._unsettled: list[tuple[int, int, int, TranscriptSegment]] = []
        self._heard = 0
        self._progress = (-1, 0)
        self._percent = 0
        self._tell_progress()

    def expect(self, window: Window) -> None:
        """Takes note of a window whose text will come. A channel's windows come in order."""
        self._awaited[window] = None

    def add(self, window: Window, heard: TranscriptionResult) -> None:
        """Takes what was heard in a window."""
        del self._awaited[window]
        if heard.segments and heard.HasField("language_confidence"):
            self._confidences.setdefault(window.channel, heard.language_confidence)
        for segment in segments_of(window, heard, words=self._config.enable_word_timestamps):
            segment.language_code = self._config.language_code or heard.language_code
            self._heard += 1
            heapq.heappush(self._unsettled, (segment.start_ms, window.channel or 0, self._heard, segment))

    def tell(self) -> None:
        """Tells watchers of the segments before which none can come any more, and how far that is."""
        settled = self._settled * 1000 // SAMPLE_RATE_HZ
        while self._unsettled and self._unsettled[0][0] < settled:
            self._append(heapq.heappop(self._unsettled)[-1])
        self._tell_progress()

    def finished(self) -> TranscriptionResult:
        """Gives the result; nothing more will come."""
        while self._unsettled:
            self._append(heapq.heappop(self._unsettled)[-1])
        result = self._result
        result.text = "".join(self._text)
        if result.segments and not result.language_code:
            first = result.segments[0]
            result.language_code = first.language_code
            channel = first.channel if first.HasField("channel") else None
            if channel in self._confidences:
                result.language_confidence = self._confidences[channel]
        result.audio_duration_ms = duration_ms(self._recording.length)
        speech = list(_united(self._recording.speech))
        result.speech_duration_ms = round(sum(one.end - one.start for one in speech) * 1000 / SAMPLE_RATE_HZ)
        result.speech.extend(TimeRange(start_ms=one.start_ms, end_ms=one.end_ms) for one in speech)
        self._tell_progress()
        return result

    def _tell_progress(self) -> None:
        """Tells how much of what is asked for is behind us. Where a file claimed too little, the total is unknown."""
        done_ms = duration_ms(self._recording.asked_before(self._settled))
        total_ms = duration_ms(self._recording.asked)
        percent = 100 * done_ms // total_ms if total_ms else 0
        if done_ms > total_ms or percent < self._percent:
            total_ms = 0
        if (done_ms, total_ms) != self._progress:
            self._progress, self._percent = (done_ms, total_ms), max(percent, self._percent)
            self._attempt.progress("transcribe", done_ms, total_ms, PROGRESS_UNIT_AUDIO_MS)

    @property
    def _settled(self) -> int:
        """Place before which no more segments begin."""
        return min([self._recording.reached, *(window.start for window in self._awaited)])

    def _append(self, segment: TranscriptSegment) -> None:
        segments = self._result.segments
        if segments:
            self._text.append("" if self._unspaced(segments[-1]) and self._unspaced(segment) else " ")
        segment.index = len(segments)
        segment.text_start = (segments[-1].text_end if segments else 0) + len(self._text[-1] if segments else "")
        segment.text_end = segment.text_start + len(segment.text)
        self._text.append(segment.text)
        segments.append(segment)
        self._attempt.emit(JobEvent(transcript_segment=segment))

    def _unspaced(self, segment: TranscriptSegment) -> bool:
        primary = segment.language_code.replace("_", "-").split("-", 1)[0].lower()
        return primary in _UNSPACED and self._config.task != TRANSCRIPTION_TASK_TRANSLATE


def _united(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Yields the stretches in order; those that overlap, being of several channels, as one."""
    last: Stretch | None = None
    for stretch in sorted(stretches, key=lambda one: one.start):
        if last is not None and stretch.start < last.end:
            last = Stretch(start=last.start, end=max(last.end, stretch.end))
        else:
            if last is not None:
                yield last
            last = stretch
    if last is not None:
        yield last
