"""An engine that knows windows by their loudness: fast, and without a model."""

import threading

import numpy as np

from triptych.v1.common_pb2 import ModelRef
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment, TranscriptWord
from triptych.workers.engines.speech import SpeechEngine, SpeechWindow


class LoudnessEngine(SpeechEngine):
    """Says a window's mean loudness, in one word in its middle.

    Attributes:
        windows: Those that were asked for, as (language, decoding).
        gate: Open by default; clear it to keep a batch running.
    """

    model = ModelRef(model="loudness", revision="1", engine="loudness/1")

    def __init__(self, language="en"):
        self.windows = []
        self.spoken = language
        self.gate = threading.Event()
        self.gate.set()

    def load(self):
        pass

    def language(self, tag):
        return tag

    def prompt(self, initial_prompt, hotwords):
        return ()

    def window(self, samples, *, language, decoding, stopped=lambda: False):
        self.windows.append((language, decoding))
        # The features keep what the engine needs to know: the loudness, and by their shape the length.
        features = np.full((1, len(samples) // 160), np.abs(samples).mean() * 32768, np.float32)
        return SpeechWindow(features=features, language=language, decoding=decoding, stopped=stopped)

    def cost(self, item):
        return 1

    def run_batch(self, items):
        self.gate.wait(30)
        return [self._heard(item) for item in items]

    def _heard(self, item):
        text = str(round(float(item.features[0, 0])))
        middle_ms = round(item.speech_s * 500)
        word = TranscriptWord(start_ms=middle_ms - 10, end_ms=middle_ms + 10, text=text, confidence=1)
        segment = TranscriptSegment(text=text, words=[word], confidence=1, temperature=0.2)
        language = item.language or self.spoken
        confidence = None if item.language else 0.9
        return TranscriptionResult(language_code=language, language_confidence=confidence, segments=[segment])
