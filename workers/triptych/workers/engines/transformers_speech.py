"""Runs speech models of transformers that are no Whisper, such as Speech2Text and Moonshine: an encoder, a decoder."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import AutoFeatureExtractor

from triptych.core.errors import FeatureDisabled, FieldInvalid, JobCancelled, LanguageUnsupported, ModelNotFound
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.transcription_pb2 import TranscriptionResult, TranscriptSegment
from triptych.workers.engines.speech import Decoding, SpeechEngine, SpeechWindow
from triptych.workers.engines.torch_device import device_of, memory_meter, weights_bytes
from triptych.workers.engines.torch_hearing import TorchHearing
from triptych.workers.engines.torch_speech import open_network, open_tokenizer
from triptych.workers.engines.whisper_guard import Hypothesis, max_new_tokens
from triptych.workers.media.resampling import SAMPLE_RATE_HZ
from triptych.workers.media.voice import load_voice_detector
from triptych.workers.memory_meters import MemoryMeter

# Of a model that does not say which language it writes (BCP-47: undetermined).
UNKNOWN_LANGUAGE = "und"
# Convolutions want more than a few samples.
_MIN_SAMPLES = SAMPLE_RATE_HZ // 2


class TransformersSpeechEngine(SpeechEngine):
    """An encoder-decoder that writes what it hears, whatever family it is; see `SpeechEngine`.

    It times no words, takes no prompt and does not translate.

    Args:
        folder: As transformers saves it, with feature extractor and tokenizer.
        model: Exact weights, for the results.
        device: "cpu", "cuda" or "auto".
        threads: CPU threads.
        compute_type: See `open_network`.
        languages: Those that it writes, as BCP-47 codes without a region; empty: not known, and any is taken for right.
    """

    def __init__(
        self,
        folder: Path,
        model: ModelRef,
        *,
        device: str = "auto",
        threads: int,
        compute_type: str = "auto",
        languages: Sequence[str] = (),
    ) -> None:
        self.model = model
        self._folder = folder
        self._device = device
        self._threads = threads
        self._compute_type = compute_type
        self._languages = tuple(languages)

    def load(self) -> None:
        """Reads the weights.

        Raises:
            ModelNotFound: The folder holds no such model.
            FeatureDisabled: The device is not there, or the model is of another build.
            FieldInvalid: The device does not have the number format.
        """
        try:
            self._extractor: Any = AutoFeatureExtractor.from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ModelNotFound(f"{self._folder} has no feature extractor that can be loaded: {error}") from error
        if self._extractor.sampling_rate != SAMPLE_RATE_HZ:
            raise FeatureDisabled(f"{self.model.model} wants {self._extractor.sampling_rate} Hz, not {SAMPLE_RATE_HZ}")
        self._tokenizer = open_tokenizer(self._folder)
        self._network = open_network(self._folder, self._device, self._compute_type, self._threads)
        self._hearing = TorchHearing(self._network, self._extractor.model_input_names[0])

    def warm_up(self) -> None:
        """Runs half a second of noise, and loads the voice-activity detector.

        Raises:
            FeatureDisabled: The model cannot be run this way.
        """
        load_voice_detector()
        noise = np.random.default_rng(0).standard_normal(_MIN_SAMPLES, np.float32) / np.float32(100)
        window = self.window(noise, language=None, decoding=Decoding(temperature=0.0, beam_size=1))
        try:
            self.run_batch([window])
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            kind = self._network.config.model_type
            raise FeatureDisabled(f"{self.model.model} ({kind}) does not run on this engine: {error}") from error

    def memory_bytes(self) -> int:
        """See `Engine.memory_bytes`."""
        return weights_bytes(self._network)

    def memory_meter(self) -> MemoryMeter:
        """See `Engine.memory_meter`."""
        return memory_meter(device_of(self._device))

    # What the threads of jobs may call.

    def language(self, tag: str) -> str:
        """See `SpeechEngine.language`."""
        primary = tag.strip().replace("_", "-").split("-", 1)[0].lower()
        if self._languages and primary not in self._languages:
            raise LanguageUnsupported(f"{self.model.model} does not know the language {tag!r}")
        return primary

    def check(self, decoding: Decoding) -> None:
        """See `SpeechEngine.check`."""
        if decoding.translate:
            raise FieldInvalid("config.task", f"{self.model.model} does not translate")

    def prompt(self, initial_prompt: str, hotwords: Sequence[str]) -> tuple[int, ...]:
        """See `SpeechEngine.prompt`.

        Raises:
            FieldInvalid: There is one: such a model takes none.
        """
        for field, given in (("initial_prompt", initial_prompt.strip()), ("hotwords", "".join(hotwords).strip())):
            if given:
                raise FieldInvalid(f"config.{field}", f"{self.model.model} takes none")
        return ()

    def window(
        self,
        samples: npt.NDArray[np.float32],
        *,
        language: str | None,
        decoding: Decoding,
        stopped: Callable[[], bool] = lambda: False,
    ) -> SpeechWindow:
        """See `SpeechEngine.window`. The features are what the model's own extractor gives."""
        self.check(decoding)
        padded = np.pad(samples, (0, max(0, _MIN_SAMPLES - len(samples))))
        with np.errstate(all="ignore"):  # some divide by the loudness, even that of silence
            found = self._extractor(padded, sampling_rate=SAMPLE_RATE_HZ, return_tensors="np")
        features = np.nan_to_num(found[self._extractor.model_input_names[0]][0]).astype(np.float32)
        # Time comes last, as in a log-mel spectrogram.
        features = features[None] if features.ndim == 1 else features.T
        frames_per_s = features.shape[1] * SAMPLE_RATE_HZ / len(padded)
        return SpeechWindow(
            features=features, language=language, decoding=decoding, stopped=stopped, frames_per_s=frames_per_s
        )

    # What only the batcher's thread calls.

    def cost(self, item: SpeechWindow) -> float:
        """Seconds of audio."""
        return item.speech_s

    def batch_key(self, item: SpeechWindow) -> Hashable:
        """What the decoder cannot vary within a batch."""
        return item.decoding.beam_size, item.decoding.temperature, max_new_tokens(item.speech_s)

    def run_batch(self, items: Sequence[SpeechWindow]) -> Sequence[TranscriptionResult | Exception]:
        """Encodes the windows, then decodes them together.

        Raises:
            MemoryError: The batch does not fit the device.
        """
        found = self._hearing.transcribe(items, lambda tokens: self._tokenizer.decode(tokens, skip_special_tokens=True))
        return [
            self._result(item, found[row]) if row in found else JobCancelled("the job was stopped")
            for row, item in enumerate(items)
        ]

    def _result(self, window: SpeechWindow, heard: Hypothesis | None) -> TranscriptionResult:
        speech_ms = round(window.speech_s * 1000)
        only = self._languages[0] if len(self._languages) == 1 else UNKNOWN_LANGUAGE
        result = TranscriptionResult(
            model=self.model,
            language_code=window.language or only,
            audio_duration_ms=speech_ms,
            speech_duration_ms=speech_ms,
        )
        if heard:
            result.text = heard.text
            segment = TranscriptSegment(end_ms=speech_ms, text=heard.text, text_end=len(heard.text))
            segment.confidence, segment.compression_ratio = heard.confidence, heard.compression_ratio
            segment.temperature = heard.temperature
            result.segments.append(segment)
        return result
