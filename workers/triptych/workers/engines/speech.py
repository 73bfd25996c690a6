"""What a speech engine is: windows of speech in, one transcript per window out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from triptych.v1.transcription_pb2 import TranscriptionResult
from triptych.workers.engines.base import Engine

WINDOW_S = 30
"""Longest window, in seconds."""
DEFAULT_BEAM_SIZE = 5
FRAMES_PER_S = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What a decoding is held to.

    The defaults are Whisper's own (Radford et al. 2022, https://arxiv.org/abs/2212.04356, section 4.5).
    """

    max_compression_ratio: float = 2.4
    """Of text whose bytes shrink by more, a loop is suspected."""
    min_avg_logprob: float = -1.0
    """A mean log-probability below counts as badly heard."""
    max_no_speech_probability: float = 0.6
    """What was badly heard and exceeds this counts as silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How a window is decoded."""

    translate: bool = False
    """Into English; else the text stays in the language spoken."""
    beam_size: int = DEFAULT_BEAM_SIZE
    temperature: float | None = None
    """None: 0, then hotter as long as the result is not good enough."""
    prompt: tuple[int, ...] = ()
    """Tokens that come before the text, as `SpeechEngine.prompt` gives them."""
    short: bool = False
    """Whether the encoder reads no more than the speech needs."""
    guard: Guard = field(default_factory=Guard)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpeechWindow:
    """At most 30 s of speech, ready for the encoder."""

    features: npt.NDArray[np.float32]
    """Log-mel spectrogram, shape (mels, frames); or what else the engine reads, time last."""
    language: str | None
    """The model's code; None: detected."""
    decoding: Decoding
    stopped: Callable[[], bool] = lambda: False
    """Whether nobody wants it any more; asked between steps."""
    frames_per_s: float = FRAMES_PER_S

    @property
    def speech_s(self) -> float:
        """Seconds of speech."""
        return float(self.features.shape[1] / self.frames_per_s)


class SpeechEngine(Engine[SpeechWindow, TranscriptionResult]):
    """Transcribes each window as if it were a whole recording: at most one segment, times from the window's start."""

    # What the threads of jobs may call.

    @abstractmethod
    def language(self, tag: str) -> str:
        """Gives the model's code of a BCP-47 tag, the region ignored.

        Raises:
            LanguageUnsupported: The model does not know it.
        """

    def check(self, decoding: Decoding) -> None:
        """Refuses what the model cannot do, before anything is decoded; `window` asks it too.

        Raises:
            FieldInvalid: It cannot; the error names the field of the request.
        """

    @abstractmethod
    def prompt(self, initial_prompt: str, hotwords: Sequence[str]) -> tuple[int, ...]:
        """Gives the tokens that put words and a preceding text before the window."""

    @abstractmethod
    def window(
        self,
        samples: npt.NDArray[np.float32],
        *,
        language: str | None,
        decoding: Decoding,
        stopped: Callable[[], bool] = lambda: False,
    ) -> SpeechWindow:
        """Makes a window of at most 30 s of samples, shape (samples,), 16 kHz.

        Raises:
            FieldInvalid: See `check`.
        """
