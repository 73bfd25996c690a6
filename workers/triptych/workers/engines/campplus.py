"""Tells voices apart with CAM++: Kaldi's features, one forward pass of torch for all moments of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import numpy.typing as npt
import torch

from triptych.core.errors import JobCancelled
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.campplus_network import MELS, CampPlus
from triptych.workers.engines.speaker import VOICE_S, Embeddings, SpeakerEngine, Voices
from triptych.workers.engines.torch_device import device_of, memory_errors, memory_meter
from triptych.workers.media.resampling import SAMPLE_RATE_HZ
from triptych.workers.memory_meters import MemoryMeter

_SAMPLES = round(VOICE_S * SAMPLE_RATE_HZ)
# More moments in one pass are no quicker on a CPU, and a batch is left only between passes.
_ROWS_A_PASS = 16


class CampPlusEngine(SpeakerEngine):
    """A checkpoint of 3D-Speaker's CAM++ with 192 dimensions, in float32.

    Args:
        folder: Holds one `*.pt`: the state of `CampPlus`.
        model: What results say.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads.
    """

    # Between the mean cosine of strangers (0.28 at most, among 11 voices) and that of a voice with itself (0.54 at
    # least), nearer to the former because noise brings all down; bench/speakers.py has the figures.
    same_speaker = 0.32

    def __init__(self, folder: Path, model: ModelRef, *, device: str, threads: int) -> None:
        self.model = model
        self._folder = folder
        self._device = device_of(device)
        self._threads = threads
        self._options = kaldi_native_fbank.FbankOptions()
        self._options.frame_opts.samp_freq = SAMPLE_RATE_HZ
        self._options.frame_opts.dither = 0
        self._options.mel_opts.num_bins = MELS

    def load(self) -> None:
        """See `Engine.load`."""
        torch.set_num_threads(self._threads)
        [checkpoint] = self._folder.glob("*.pt")
        network = CampPlus()
        # A checkpoint is a pickle: only tensors may come out of it.
        network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
        self._network = network.to(self._device).eval()

    def memory_meter(self) -> MemoryMeter:
        """See `Engine.memory_meter`."""
        return memory_meter(self._device)

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        self.run_batch([self.voices([np.zeros(_SAMPLES, np.float32)])])

    def voices(
        self, moments: Sequence[npt.NDArray[np.float32]], *, stopped: Callable[[], bool] = lambda: False
    ) -> Voices:
        """See `SpeakerEngine.voices`."""
        return Voices(features=np.stack([self._features(samples) for samples in moments]), stopped=stopped)

    def run_batch(self, items: Sequence[Voices]) -> list[Embeddings | Exception]:
        """See `Engine.run_batch`.

        Returns:
            JobCancelled for moments that nobody wants any more.
        """
        rows = [(index, moment) for index, item in enumerate(items) for moment in range(len(item.features))]
        found: list[list[Embeddings]] = [[] for _ in items]
        for first in range(0, len(rows), _ROWS_A_PASS):
            wanted = [row for row in rows[first : first + _ROWS_A_PASS] if not items[row[0]].stopped()]
            if wanted:
                embeddings = self._embeddings(np.stack([items[index].features[moment] for index, moment in wanted]))
                for (index, _), embedding in zip(wanted, embeddings, strict=True):
                    found[index].append(embedding)
        return [
            np.stack(own) if len(own) == len(item.features) else JobCancelled("the job was stopped")
            for item, own in zip(items, found, strict=True)
        ]

    def _features(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if not 0 < len(samples) <= _SAMPLES:
            raise ValueError(f"a moment has 1 to {_SAMPLES} samples, not {len(samples)}")
        bank = kaldi_native_fbank.OnlineFbank(self._options)
        bank.accept_waveform(SAMPLE_RATE_HZ, np.resize(samples, _SAMPLES))
        bank.input_finished()
        features = np.stack([bank.get_frame(frame) for frame in range(bank.num_frames_ready)])
        # What the channel adds to every frame says nothing about the speaker.
        centred: npt.NDArray[np.float32] = features - features.mean(axis=0)
        return centred

    def _embeddings(self, features: npt.NDArray[np.float32]) -> Embeddings:
        with memory_errors(), torch.inference_mode():
            found = self._network(torch.from_numpy(features).to(self._device))
            unit: Embeddings = torch.nn.functional.normalize(found).cpu().numpy()
        return unit
