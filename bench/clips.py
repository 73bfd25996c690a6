"""What is in an audio file, for benchmarks that hold it in memory: its samples, and its windows of speech."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from triptych.workers.hearing.clips import Clips
from triptych.workers.hearing.recording import Recording
from triptych.workers.media.audio_file import AudioFile
from triptych.workers.media.voice import VoiceFinder

_MAX_AUDIO_S = 36_000


def samples_of(path: Path) -> npt.NDArray[np.int16]:
    """Gives all of it, mono, 16 kHz, shape (samples,)."""
    with path.open("rb") as opened, AudioFile(opened, max_audio_s=_MAX_AUDIO_S) as file:
        found: npt.NDArray[np.int16] = np.concatenate(list(file.between()), axis=1)[0]
        return found


def windows_of(path: Path) -> list[npt.NDArray[np.float32]]:
    """Gives the samples of its windows, in order, shape (samples,) each."""
    with path.open("rb") as opened, AudioFile(opened, max_audio_s=_MAX_AUDIO_S) as file:
        steps = Recording(file, Clips([]), VoiceFinder).pieces()
        return [piece.samples for found in steps for piece in found]
