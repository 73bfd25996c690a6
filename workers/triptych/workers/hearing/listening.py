"""Has the windows of a recording decoded while it is still being read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.workers.attempt import Attempt
from triptych.workers.batcher import Done
from triptych.workers.engines.speech import Decoding, SpeechEngine, SpeechWindow
from triptych.workers.hearing.recording import Recording
from triptych.workers.hearing.transcript import Transcript
from triptych.workers.hearing.windows import Piece, Window
from triptych.workers.speakers.diarization import Diarization
from triptych.workers.station import Station

# Windows of one job that wait or run: two full batches, and a bound on memory however long the recording is. Nothing
# more is read until one of them is heard.
MAX_WINDOWS_AHEAD = 32
# Until the first text is there: reading far ahead would take the processor from the engine, and somebody waits.
_FIRST_WINDOWS_AHEAD = 4
# The unit that reading is. It is held only while something is read, so that windows are decoded beside it.
_READING = "recording"

Submitted = Future[Done[TranscriptionResult]]


class Listening:
    """Reads on while there is room for windows; else, and whenever one is heard, adds its text to the transcript.

    A channel's first window with speech tells its language, and the others of the channel wait for it.

    Args:
        attempt: At the job. Windows that an earlier one finished are taken from it.
        station: Where the engine is.
        engine: The station's.
        decoding: How windows are decoded.
        language: The engine's code; None: detected.
        diarization: Hears every window too; None: speakers are not told apart.
    """

    def __init__(
        self,
        attempt: Attempt,
        station: Station[SpeechWindow, TranscriptionResult],
        engine: SpeechEngine,
        decoding: Decoding,
        language: str | None,
        diarization: Diarization | None = None,
    ) -> None:
        self._attempt = attempt
        self._station = station
        self._engine = engine
        self._decoding = decoding
        self._given = language
        self._diarization = diarization
        self._languages: dict[int | None, str] = {}
        self._parts = attempt.parts()
        self._ahead: deque[tuple[Window, Submitted | None]] = deque()
        self._most = _FIRST_WINDOWS_AHEAD

    def run(self, recording: Recording, transcript: Transcript) -> None:
        """Adds the text of every window.

        Raises:
            TriptychError: The recording's error, a window's, or what stopped the attempt.
        """
        afforded = False
        try:
            for pieces in self._read(recording):
                if pieces and not afforded:
                    missing = max(0, recording.window_count() - len(self._parts))
                    self._attempt.afford(self._station, missing, "windows of speech")
                    afforded = True
                for piece in pieces:
                    transcript.expect(piece.window)
                transcript.tell()
                twins: dict[tuple[bytes, str | None], Submitted] = {}
                for piece in pieces:
                    while self._ahead and (self._is_heard() or not self._room(piece.window)):
                        self._hear(transcript)
                    self._ahead.append((piece.window, self._begun(piece, twins)))
                    if self._diarization is not None:
                        self._diarization.hear(piece)
            while self._ahead:
                self._hear(transcript)
        finally:
            for _, future in self._ahead:
                if future is not None:
                    future.cancel()

    def _read(self, recording: Recording) -> Iterator[list[Piece]]:
        found = recording.pieces()
        while True:
            with self._attempt.hand.unit(_READING):
                pieces = next(found, None)
            if pieces is None:
                return
            yield pieces

    def _language(self, window: Window) -> str | None:
        return self._given or self._languages.get(window.channel)

    def _is_heard(self) -> bool:
        """Whether the next text is there."""
        future = self._ahead[0][1]
        return future is None or future.done()

    def _room(self, window: Window) -> bool:
        """Whether a window may be decoded now; a suspect is, when those before it are done."""
        if self._attempt.hand.suspect(window.name):
            return not self._ahead
        unknown = self._language(window) is None
        if unknown and any(before.channel == window.channel for before, _ in self._ahead):
            return False
        return len(self._ahead) < self._most

    def _begun(self, piece: Piece, twins: dict[tuple[bytes, str | None], Submitted]) -> Submitted | None:
        """Has a window decoded; None: it is known.

        Args:
            piece: The window.
            twins: Windows of other channels by what they sound like: recordings often hold one channel twice.
        """
        window, language = piece.window, self._language(piece.window)
        if window.name in self._parts:
            return None
        sound = (window.name.encode() if window.channel is None else piece.samples.tobytes(), language)
        if sound not in twins:
            self._attempt.hand.begin(window.name)
            stopped = self._attempt.stopped
            item = self._engine.window(piece.samples, language=language, decoding=self._decoding, stopped=stopped)
            twins[sound] = self._attempt.submit(self._station, item, unit=window.name)
        return twins[sound]

    def _hear(self, transcript: Transcript) -> None:
        """Waits for the next text and adds it."""
        window, future = self._ahead.popleft()
        if future is None:
            heard = TranscriptionResult.FromString(self._parts[window.name])
        else:
            heard = self._attempt.result(future).value
            self._attempt.hand.save_part(window.name, heard.SerializeToString())
        if heard.segments and window.channel not in self._languages:
            self._languages[window.channel] = self._engine.language(heard.language_code)
        self._most = MAX_WINDOWS_AHEAD
        transcript.add(window, heard)
        transcript.tell()
