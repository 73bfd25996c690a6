"""Whisper on CTranslate2: turns windows of speech, of any jobs and languages, into text and word times."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import FieldInvalid, InternalError, JobCancelled, LanguageUnsupported, ModelNotFound
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment
from triptych.workers.engines.heeding import Unwanted
from triptych.workers.engines.speech import FRAMES_PER_S, WINDOW_S, Decoding, SpeechEngine, SpeechWindow
from triptych.workers.engines.whisper_batch import MAX_POSITIONS, WhisperBatch, frames_read
from triptych.workers.engines.whisper_folder import free_cuda_memory, open_folder, runs_on_cuda
from triptych.workers.engines.whisper_guard import Hypothesis
from triptych.workers.media.resampling import SAMPLE_RATE_HZ
from triptych.workers.media.voice import load_voice_detector
from triptych.workers.memory_meters import MemoryMeter, ProcessMemory, SampledCudaMemory

# Half of the positions may hold a prompt, its start token counted in.
_MAX_PROMPT_TOKENS = MAX_POSITIONS // 2 - 1
# Whisper's names where they differ from BCP-47.
_WHISPER_NAME = {"jv": "jw", "nb": "no", "fil": "tl", "iw": "he", "in": "id", "cmn": "zh"}
_BCP47_NAME = {"jw": "jv"}


class WhisperEngine(SpeechEngine):
    """Whisper; see `SpeechEngine`.

    Args:
        folder: Weights in CTranslate2 format, with tokenizer.json.
        model: Exact weights, for the results.
        device: "cpu", "cuda" or "auto".
        threads: CPU threads.
        compute_type: CTranslate2's name of the number format; "auto": int8 on a CPU, float16 on a GPU.
    """

    def __init__(
        self, folder: Path, model: ModelRef, *, device: str = "auto", threads: int, compute_type: str = "auto"
    ) -> None:
        self.model = model
        self._folder = folder
        self._device = device
        self._threads = threads
        self._compute_type = compute_type
        self._whisper: Any = None
        self._languages: frozenset[str] = frozenset()
        self._suppressed: tuple[int, ...] = ()

    def load(self) -> None:
        """Reads the weights.

        Raises:
            ModelNotFound: The folder lacks a file, or holds no Whisper.
            FeatureDisabled: The device is not there.
            FieldInvalid: The device does not have the number format.
        """
        from triptych.workers.engines.whisper_tools import WhisperTools

        weights, tokenizer = self._open()
        try:
            self._whisper = WhisperTools(weights, tokenizer)
        except ModelNotFound:
            weights.close()
            raise
        self._languages = self._whisper.languages()
        self._suppressed = self._whisper.suppressed_tokens(self._tokenizer("en"))

    def memory_bytes(self) -> int:
        """See `Engine.memory_bytes`."""
        size_bytes: int = self._whisper.model.memory_bytes()
        return size_bytes

    def memory_meter(self) -> MemoryMeter:
        """See `Engine.memory_meter`."""
        if runs_on_cuda(self._device):
            return SampledCudaMemory(free_cuda_memory())
        return ProcessMemory(lambda: self._whisper.model.pid)

    def unload(self) -> None:
        """See `Engine.unload`."""
        if self._whisper is not None:
            self._whisper.model.close()

    def _open(self) -> tuple[Any, Any]:
        """Gives the loaded weights and their tokenizer (`tokenizers.Tokenizer`)."""
        return open_folder(self._folder, device=self._device, compute_type=self._compute_type, threads=self._threads)

    def warm_up(self) -> None:
        """Runs one second of silence, and loads the voice-activity detector."""
        load_voice_detector()
        silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
        self.run_batch([self.window(silence, language=None, decoding=Decoding(temperature=0.0))])

    # What the threads of jobs may call.

    def language(self, tag: str) -> str:
        """See `SpeechEngine.language`."""
        primary = tag.strip().replace("_", "-").split("-", 1)[0].lower()
        code = _WHISPER_NAME.get(primary, primary)
        if code not in self._languages:
            raise LanguageUnsupported(f"{self.model.model} does not know the language {tag!r}")
        return code

    def check(self, decoding: Decoding) -> None:
        """See `SpeechEngine.check`."""
        if decoding.translate and not self._whisper.model.is_multilingual:
            raise FieldInvalid("config.task", f"{self.model.model} is English only: it does not translate")

    def prompt(self, initial_prompt: str, hotwords: Sequence[str]) -> tuple[int, ...]:
        """See `SpeechEngine.prompt`.

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
        """See `SpeechEngine.window`."""
        self.check(decoding)
        # The last frame sees only the padding.
        features = self._whisper.feature_extractor(samples)[:, :-1]
        features = features[:, : WINDOW_S * FRAMES_PER_S].astype(np.float32)
        return SpeechWindow(features=features, language=language, decoding=decoding, stopped=stopped)

    # What only the batcher's thread calls.

    def cost(self, item: SpeechWindow) -> float:
        """Seconds of audio the encoder reads."""
        return frames_read(item) / FRAMES_PER_S

    def batch_key(self, item: SpeechWindow) -> Hashable:
        """What the model cannot vary within a batch. Language, task, guard and the prompt's words can differ."""
        decoding = item.decoding
        return frames_read(item), decoding.beam_size, decoding.temperature, len(decoding.prompt)

    def run_batch(self, items: Sequence[SpeechWindow]) -> Sequence[TranscriptionResult | Exception]:
        """Encodes the windows once; detects languages, decodes and times words from that.

        Raises:
            MemoryError: The batch does not fit the device.
        """
        with _memory_errors():
            found = self._transcribe(items)
        return [found.get(row) or JobCancelled("the job was stopped") for row in range(len(items))]

    def _transcribe(self, windows: Sequence[SpeechWindow]) -> dict[int, TranscriptionResult]:
        """Gives the results of the rows that are still wanted at the end."""
        batch = WhisperBatch(self._whisper, self._suppressed, windows)
        batch.encode()
        languages = batch.languages()
        tokenizers = {
            row: self._tokenizer(code, translate=windows[row].decoding.translate)
            for row, (code, _) in languages.items()
        }
        results = {}
        for row, hypothesis in batch.decode(tokenizers).items():
            code, confidence = languages[row]
            speech_ms = round(windows[row].speech_s * 1000)
            result = TranscriptionResult(
                model=self.model,
                language_code=_BCP47_NAME.get(code, code),
                language_confidence=confidence,
                audio_duration_ms=speech_ms,
                speech_duration_ms=speech_ms,
            )
            with suppress(Unwanted):
                if hypothesis is not None:
                    segment = _segment(hypothesis, speech_ms)
                    segment.words.extend(batch.words(row, tokenizers[row], hypothesis))
                    result.segments.append(segment)
                    result.text = segment.text
                results[row] = result
        return results

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
        temperature=hypothesis.temperature,
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
