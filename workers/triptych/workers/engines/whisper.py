"""Whisper on CTranslate2: turns windows of speech, of any jobs and languages, into text and word times."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import InternalError, JobCancelled, LanguageUnsupported
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment
from triptych.workers.engines.base import Engine
from triptych.workers.engines.whisper_batch import (
    DEFAULT_BEAM_SIZE,
    FRAMES_PER_S,
    MAX_POSITIONS,
    Decoding,
    SpeechWindow,
    WhisperBatch,
)
from triptych.workers.engines.whisper_guard import Hypothesis
from triptych.workers.engines.whisper_windows import WINDOW_S
from triptych.workers.media.audio import SAMPLE_RATE_HZ

__all__ = ["DEFAULT_BEAM_SIZE", "Decoding", "SpeechWindow", "WhisperEngine"]

# Half of the positions may hold a prompt, its start token counted in.
_MAX_PROMPT_TOKENS = MAX_POSITIONS // 2 - 1
# Whisper's names where they differ from BCP-47.
_WHISPER_NAME = {"jv": "jw", "nb": "no", "fil": "tl", "iw": "he", "in": "id", "cmn": "zh"}
_BCP47_NAME = {"jw": "jv"}


class WhisperEngine(Engine[SpeechWindow, TranscriptionResult]):
    """Transcribes each window as if it were a whole recording: at most one segment, times from the window's start.

    Args:
        folder: Weights in CTranslate2 format, with tokenizer.json.
        model: Exact weights, for the results.
        device: "cpu" (int8), "cuda" (float16) or "auto".
        threads: CPU threads.
    """

    def __init__(self, folder: Path, model: ModelRef, *, device: str = "auto", threads: int) -> None:
        self.model = model
        self._folder = folder
        self._device = device
        self._threads = threads
        self._whisper: Any = None
        self._languages: frozenset[str] = frozenset()
        self._suppressed: tuple[int, ...] = ()

    def load(self) -> None:
        """Reads the weights."""
        import ctranslate2
        from faster_whisper import WhisperModel
        from faster_whisper.transcribe import get_suppressed_tokens

        cuda = self._device == "cuda" or (self._device == "auto" and ctranslate2.get_cuda_device_count() > 0)
        self._whisper = WhisperModel(
            str(self._folder),
            device="cuda" if cuda else "cpu",
            compute_type="float16" if cuda else "int8",
            cpu_threads=self._threads,
            local_files_only=True,
        )
        token_id = self._whisper.hf_tokenizer.token_to_id
        names = self._whisper.supported_languages
        self._languages = frozenset(name for name in names if name == "en" or token_id(f"<|{name}|>") is not None)
        self._suppressed = get_suppressed_tokens(self._tokenizer("en"), [-1])

    def warm_up(self) -> None:
        """Runs one second of silence, and loads the voice-activity detector."""
        from faster_whisper.vad import get_vad_model

        get_vad_model()
        silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
        self.run_batch([self.window(silence, language=None, decoding=Decoding(temperature=0.0))])

    # What the threads of jobs may call.

    def language(self, tag: str) -> str:
        """Gives Whisper's code of a BCP-47 tag, the region ignored.

        Raises:
            LanguageUnsupported: The model does not know it.
        """
        primary = tag.strip().replace("_", "-").split("-", 1)[0].lower()
        code = _WHISPER_NAME.get(primary, primary)
        if code not in self._languages:
            raise LanguageUnsupported(f"{self.model.model} does not know the language {tag!r}")
        return code

    def prompt(self, initial_prompt: str, hotwords: Sequence[str]) -> tuple[int, ...]:
        """Gives the tokens that put words and a preceding text before the window.

        Half the decoder's positions are free for them: of the hotwords the first stay, of the text the last.
        """
        tokenizer = self._tokenizer("en")
        words, text = ", ".join(word.strip() for word in hotwords).strip(), initial_prompt.strip()
        tokens = tokenizer.encode(" " + words)[:_MAX_PROMPT_TOKENS] if words else []
        room = _MAX_PROMPT_TOKENS - len(tokens)
        tokens += tokenizer.encode(" " + text)[-room:] if text and room else []
        return (tokenizer.sot_prev, *tokens) if tokens else ()

    def window(
        self,
        samples: npt.NDArray[np.float32],
        *,
        language: str | None,
        decoding: Decoding,
        stopped: Callable[[], bool] = lambda: False,
    ) -> SpeechWindow:
        """Makes a window of at most 30 s of samples, shape (samples,), 16 kHz."""
        # The last frame sees only the padding.
        features = self._whisper.feature_extractor(samples)[:, :-1]
        features = features[:, : WINDOW_S * FRAMES_PER_S].astype(np.float32)
        return SpeechWindow(features=features, language=language, decoding=decoding, stopped=stopped)

    # What only the batcher's thread calls.

    def cost(self, item: SpeechWindow) -> float:  # noqa: ARG002 - the encoder reads 30 s, however short the speech
        """Seconds of audio the encoder reads."""
        return float(WINDOW_S)

    def batch_key(self, item: SpeechWindow) -> Hashable:
        """What the decoder cannot vary within a batch. Language, task and the prompt's words can differ."""
        return item.decoding.beam_size, item.decoding.temperature, len(item.decoding.prompt)

    def run_batch(self, items: Sequence[SpeechWindow]) -> Sequence[TranscriptionResult | Exception]:
        """Encodes the windows once; detects languages, decodes and times words from that.

        Raises:
            MemoryError: The batch does not fit the device.
        """
        results: list[TranscriptionResult | Exception] = [JobCancelled("the job was stopped")] * len(items)
        live = [index for index, item in enumerate(items) if not item.stopped()]
        if live:
            with _memory_errors():
                for index, result in zip(live, self._transcribe([items[index] for index in live]), strict=True):
                    results[index] = result
        return results

    def _transcribe(self, windows: Sequence[SpeechWindow]) -> Iterator[TranscriptionResult | Exception]:
        batch = WhisperBatch(self._whisper, self._suppressed, windows)
        unsure = any(window.language is None for window in windows)
        detected = batch.languages() if unsure else [("", 0.0)] * len(windows)
        codes = [window.language or code for window, (code, _) in zip(windows, detected, strict=True)]
        tokenizers = [
            self._tokenizer(code, translate=window.decoding.translate)
            for code, window in zip(codes, windows, strict=True)
        ]
        for row, hypothesis in enumerate(batch.decode(tokenizers)):
            window = windows[row]
            if hypothesis is None:
                yield JobCancelled("the job was stopped")
                continue
            speech_ms = round(window.speech_s * 1000)
            result = TranscriptionResult(
                model=self.model,
                language_code=_BCP47_NAME.get(codes[row], codes[row]),
                language_confidence=detected[row][1] if window.language is None else None,
                audio_duration_ms=speech_ms,
                speech_duration_ms=speech_ms,
            )
            if hypothesis.text and not hypothesis.silent:
                segment = _segment(hypothesis, speech_ms)
                segment.words.extend(batch.words(row, tokenizers[row], hypothesis))
                result.segments.append(segment)
                result.text = segment.text
            yield result

    def _tokenizer(self, language: str, *, translate: bool = False) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        task = "translate" if translate else "transcribe"
        return Tokenizer(self._whisper.hf_tokenizer, self._whisper.model.is_multilingual, task=task, language=language)


def _segment(hypothesis: Hypothesis, end_ms: int) -> TranscriptSegment:
    return TranscriptSegment(
        end_ms=end_ms,
        text=hypothesis.text,
        text_end=len(hypothesis.text),
        confidence=hypothesis.confidence,
        no_speech_probability=hypothesis.no_speech_probability,
        compression_ratio=hypothesis.compression_ratio,
    )


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turns CUDA's way of saying that memory is full into Python's."""
    try:
        yield
    except RuntimeError as error:
        if any(sign in str(error).lower() for sign in ("out of memory", "alloc_failed")):
            raise MemoryError(str(error)) from error
        raise InternalError(f"Whisper failed: {error}") from error
