"""Tells the speakers of one recording apart: hears its windows as they pass, and labels the transcript at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import numpy as np

from triptych.core.errors import FeatureDisabled, FieldInvalid, ModelNotFound
from triptych.v1.transcription_pb2 import SpeakerConfig, TranscriptionConfig, TranscriptionResult
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import Done
from triptych.workers.engines.speaker import VOICE_S, Embeddings, SpeakerEngine, Voices
from triptych.workers.hearing.windows import Piece
from triptych.workers.media.resampling import SAMPLE_RATE_HZ
from triptych.workers.speakers.labels import label
from triptych.workers.speakers.turns import Moment, Turn, turns_of
from triptych.workers.station import Station

_VOICE_SAMPLES = round(VOICE_S * SAMPLE_RATE_HZ)
_HOP_SAMPLES = _VOICE_SAMPLES // 2
# Less tells no voice.
_LEAST_SAMPLES = SAMPLE_RATE_HZ // 4
# Windows of one job that wait or run: a bound on memory however long the recording is.
_MAX_AHEAD = 4


class Diarization:
    """The speakers of one recording. Channels are heard apart: who speaks on one does not speak on another.

    Args:
        attempt: Of the job.
        station: Where the engine is.
        engine: The station's.
        config: How many speakers there may be, on each channel.
    """

    def __init__(
        self, attempt: Attempt, station: Station[Voices, Embeddings], engine: SpeakerEngine, config: SpeakerConfig
    ) -> None:
        self.model = engine.model
        self._attempt = attempt
        self._station = station
        self._engine = engine
        self._config = config
        self._stretches = 0
        # By channel; the embeddings are those of the first moments.
        self._moments: dict[int, list[Moment]] = {}
        self._embeddings: dict[int, list[Embeddings]] = {}
        self._ahead: deque[tuple[int, str, Future[Done[Embeddings]]]] = deque()

    def hear(self, piece: Piece) -> None:
        """Takes the next window of a channel; waits while too many are unheard.

        Raises:
            TriptychError: The engine's error, or what stopped the attempt.
        """
        channel, unit = piece.window.channel or 0, piece.window.name.replace("window:", "voices:", 1)
        samples, at = [], 0
        for stretch in piece.window.stretches:
            for first, end in moments_in(stretch.end - stretch.start):
                samples.append(piece.samples[at + first : at + end])
                start_ms, end_ms = ((stretch.start + place) * 1000 // SAMPLE_RATE_HZ for place in (first, end))
                moment = Moment(start_ms=start_ms, end_ms=end_ms, stretch=self._stretches)
                self._moments.setdefault(channel, []).append(moment)
            at += stretch.end - stretch.start
            self._stretches += 1
        if samples:
            if len(self._ahead) == _MAX_AHEAD:
                self._take()
            self._attempt.hand.begin(unit)
            item = self._engine.voices(samples, stopped=self._attempt.stopped)
            self._ahead.append((channel, unit, self._attempt.submit(self._station, item, unit=unit)))

    def label(self, result: TranscriptionResult) -> None:
        """Writes the speakers into the whole transcript; see `labels.label`. Call it once, after the last window.

        Raises:
            TriptychError: The engine's error, or what stopped the attempt.
        """
        self._attempt.progress("tell speakers apart")
        while self._ahead:
            self._take()
        label(result, {channel: self._turns(channel) for channel in self._moments})
        result.speaker_model.CopyFrom(self.model)
        self._attempt.check()

    def close(self) -> None:
        """Takes back what still waits; it may be called at any time."""
        while self._ahead:
            self._ahead.pop()[-1].cancel()

    def _take(self) -> None:
        channel, unit, future = self._ahead[0]
        self._embeddings.setdefault(channel, []).append(self._attempt.result(future).value)
        self._attempt.hand.settle(unit)
        self._ahead.popleft()

    def _turns(self, channel: int) -> list[Turn]:
        return turns_of(
            self._moments[channel],
            np.concatenate(self._embeddings[channel]),
            same_speaker=self._engine.same_speaker,
            fewest=self._config.min_speaker_count,
            most=self._config.max_speaker_count,
        )


def diarization(
    attempt: Attempt, get: Callable[[str], Station[Voices, Embeddings]], model: str, config: TranscriptionConfig
) -> Diarization | None:
    """Makes ready to tell speakers apart, before anything of the recording is read; None: nobody asked for it.

    Args:
        attempt: Of the job.
        get: Gives the station of a model.
        model: Name of the speaker model; empty: there is none.
        config: Says whether, and how many there may be.

    Raises:
        FeatureDisabled: This worker cannot; the message says what is missing.
    """
    if not config.HasField("speakers"):
        return None
    if not model:
        raise FeatureDisabled("speakers are not told apart here: TRIPTYCH_SPEAKER_MODEL is empty")
    try:
        station = get(model)
    except (FieldInvalid, ModelNotFound) as error:
        raise FeatureDisabled(f"speakers cannot be told apart: {error}", metadata={"model": model}) from error
    if not isinstance(station.engine, SpeakerEngine):
        raise FeatureDisabled(f"speakers cannot be told apart: {model} is no speaker model", metadata={"model": model})
    return Diarization(attempt, station, station.engine, config.speakers)


def moments_in(samples: int) -> Iterator[tuple[int, int]]:
    """Yields the (start, end) of the moments of a stretch that has so many samples, each half over the one before."""
    if samples < _LEAST_SAMPLES:
        return
    start = 0
    while start + _VOICE_SAMPLES < samples:
        yield start, start + _VOICE_SAMPLES
        start += _HOP_SAMPLES
    # The last one ends with the stretch, and is as long as the others where there is enough.
    yield max(0, samples - _VOICE_SAMPLES), samples
