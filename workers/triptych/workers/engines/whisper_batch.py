"""One batch of speech windows in the model: encoded once, then asked for languages, texts and word times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.v1.transcription_pb2 import TranscriptWord
from triptych.workers.engines.whisper_guard import LADDER, Hypothesis, best, max_new_tokens
from triptych.workers.engines.whisper_windows import WINDOW_S

DEFAULT_BEAM_SIZE = 5
FRAMES_PER_S = 100
# The decoder's positions: prompt and text together.
MAX_POSITIONS = 448
_SAMPLED_HYPOTHESES = 5
# Marks that stick to the word after them, and to the word before them.
_PREPENDED, _APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How a window is decoded."""

    translate: bool = False
    """Into English; else the text stays in the language spoken."""
    beam_size: int = DEFAULT_BEAM_SIZE
    temperature: float | None = None
    """None: 0, then hotter as long as the result is not good enough."""
    prompt: tuple[int, ...] = ()
    """Tokens that come before the text, as `WhisperEngine.prompt` gives them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpeechWindow:
    """At most 30 s of speech, ready for the encoder."""

    features: npt.NDArray[np.float32]
    """Log-mel spectrogram, shape (mels, frames), 100 frames a second."""
    language: str | None
    """Whisper's code; None: detected."""
    decoding: Decoding
    stopped: Callable[[], bool] = lambda: False
    """Whether nobody wants it any more; asked between steps."""

    @property
    def speech_s(self) -> float:
        """Seconds of speech."""
        return float(self.features.shape[1] / FRAMES_PER_S)


class WhisperBatch:
    """Windows of equal decoding options, encoded.

    The encoder reads 30 s whatever the windows hold: with shorter inputs words went missing.

    Args:
        whisper: A `faster_whisper.WhisperModel`.
        suppressed: Tokens that are never written: signs that are not speech.
        windows: At least one.
    """

    def __init__(self, whisper: Any, suppressed: tuple[int, ...], windows: Sequence[SpeechWindow]) -> None:
        self._whisper = whisper
        self._suppressed = suppressed
        self._windows = windows
        stack = np.zeros((len(windows), windows[0].features.shape[0], WINDOW_S * FRAMES_PER_S), np.float32)
        for row, window in enumerate(windows):
            stack[row, :, : window.features.shape[1]] = window.features
        self._encoded = whisper.encode(stack)

    def languages(self) -> list[tuple[str, float]]:
        """Gives every row's likeliest language and its probability: one decoder step for all."""
        if not self._whisper.model.is_multilingual:
            return [("en", 1.0)] * len(self._windows)
        # Tokens look like <|en|>.
        return [(row[0][0][2:-2], row[0][1]) for row in self._whisper.model.detect_language(self._encoded)]

    def decode(self, tokenizers: Sequence[Any]) -> list[Hypothesis | None]:
        """Decodes all rows, then again, hotter, those that came out badly; None where a row was stopped.

        Args:
            tokenizers: One per row, for its language and task.
        """
        given = self._windows[0].decoding.temperature
        tried: dict[int, list[Hypothesis]] = defaultdict(list)
        rows = list(range(len(self._windows)))
        for temperature in LADDER if given is None else (given,):
            for row, hypothesis in zip(rows, self._generate(rows, tokenizers, temperature), strict=True):
                tried[row].append(hypothesis)
            rows = [row for row in rows if not tried[row][-1].good_enough and not self._windows[row].stopped()]
            if not rows:
                break
        return [None if window.stopped() else best(tried[row]) for row, window in enumerate(self._windows)]

    def words(self, row: int, tokenizer: Any, hypothesis: Hypothesis) -> Iterator[TranscriptWord]:
        """Times a row's words by the decoder's attention; in order, within the window, in its milliseconds.

        One row a call: the aligner wants one start sequence, and a row must not depend on its neighbours.
        """
        window = self._windows[row]
        timed: dict[str, Any] = {"seek": 0, "start": 0.0, "end": window.speech_s, "tokens": list(hypothesis.tokens)}
        encoded, frames = self._rows([row]), window.features.shape[1]
        self._whisper.add_word_timestamps([[timed]], tokenizer, encoded, frames, _PREPENDED, _APPENDED, 0.0)
        before_ms, last_ms = 0, round(window.speech_s * 1000)
        for word in timed.get("words", ()):
            start_ms = min(max(round(word["start"] * 1000), before_ms), last_ms)
            before_ms = min(max(round(word["end"] * 1000), start_ms), last_ms)
            confidence = min(1.0, float(word["probability"]))
            if text := word["word"].strip():
                yield TranscriptWord(start_ms=start_ms, end_ms=before_ms, text=text, confidence=confidence)

    def _generate(self, rows: Sequence[int], tokenizers: Sequence[Any], temperature: float) -> Iterator[Hypothesis]:
        windows = [self._windows[row] for row in rows]
        prompts = [
            [*self._windows[row].decoding.prompt, *tokenizers[row].sot_sequence, tokenizers[row].no_timestamps]
            for row in rows
        ]
        new_tokens = max_new_tokens(max(window.speech_s for window in windows))
        search = (
            {"beam_size": 1, "num_hypotheses": _SAMPLED_HYPOTHESES, "sampling_topk": 0}
            if temperature > 0
            else {"beam_size": windows[0].decoding.beam_size}
        )
        found = self._whisper.model.generate(
            self._rows(rows),
            prompts,
            # CTranslate2 takes the smaller of max_length / 2 and max_length - prompt for the new tokens.
            max_length=min(MAX_POSITIONS, max(2 * new_tokens, new_tokens + len(prompts[0]))),
            sampling_temperature=temperature,
            suppress_blank=True,
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_no_speech_prob=True,
            **search,
        )
        for row, result in zip(rows, found, strict=True):
            tokens = result.sequences_ids[0]
            yield Hypothesis(
                tokens=tuple(tokens),
                text=tokenizers[row].decode(tokens).strip(),
                avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
                no_speech_probability=result.no_speech_prob,
            )

    def _rows(self, rows: Sequence[int]) -> Any:
        """Takes rows out of the encoder's output, which CTranslate2 itself cannot slice."""
        import ctranslate2

        if len(rows) == len(self._windows):
            return self._encoded
        on_cpu = self._encoded
        if on_cpu.device == "cuda":
            on_cpu = on_cpu.to_device(ctranslate2.Device.cpu)
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(np.array(on_cpu)[list(rows)]))
