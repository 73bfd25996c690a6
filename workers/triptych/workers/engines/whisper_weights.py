"""Whisper's weights in CTranslate2: what they compute, in arrays and lists; as a program, a process that answers calls.

`whisper_process.py` runs the program. It imports nothing of ours, so that it is there in half a second.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt

# What the encoder gave: shape (windows, 1500, size).
Encoded = npt.NDArray[Any]


class WhisperWeights:
    """A loaded model.

    Args:
        model: A `ctranslate2.models.Whisper`.
    """

    # A GPU takes little longer for many windows than for one.
    windows_a_call = 16

    def __init__(self, model: Any) -> None:
        self._model = model
        self.is_multilingual: bool = model.is_multilingual
        self.mels: int = model.n_mels

    def memory_bytes(self) -> int:
        """Gives 0: nobody tells how much of the device it takes."""
        return 0

    def close(self) -> None:
        """Frees the device."""
        self._model.unload_model()

    def encode(self, features: npt.NDArray[np.float32]) -> Encoded:
        """Encodes windows, features of shape (windows, mels, 3000)."""
        return np.array(self._model.encode(ctranslate2.StorageView.from_array(features), to_cpu=True))

    def detect_language(self, encoded: Encoded) -> list[tuple[str, float]]:
        """Gives the likeliest language of each window, as a token like <|en|>, and its probability.

        Raises:
            RuntimeError: Whoever converted the model left its languages out.
        """
        found = self._model.detect_language(_view(encoded))
        if not all(found):
            raise RuntimeError("its config.json names no languages (lang_ids), so it cannot detect one: name it")
        return [languages[0] for languages in found]

    def generate(
        self,
        encoded: Encoded,
        prompts: Sequence[Sequence[int]],
        *,
        seed: int | None = None,  # noqa: ARG002 - see above
        **options: Any,
    ) -> list[tuple[list[int], float, float]]:
        """Gives the best text tokens of each window, their score, and the probability that there is no speech.

        Args:
            encoded: The windows.
            prompts: Tokens before the text, one list per window.
            seed: Not heeded: CTranslate2 seeds the lots of a model once. `WhisperProcess` knows a way.
            options: Of `ctranslate2.models.Whisper.generate`.
        """
        found = self._model.generate(_view(encoded), prompts, return_scores=True, return_no_speech_prob=True, **options)
        return [(one.sequences_ids[0], one.scores[0], one.no_speech_prob) for one in found]

    def align(
        self, encoded: Encoded, start: Sequence[int], texts: Sequence[Sequence[int]], frames: int, **options: Any
    ) -> list[SimpleNamespace]:
        """Aligns texts with windows, as `ctranslate2.models.Whisper.align` does; faster-whisper calls it."""
        found = self._model.align(_view(encoded), start, texts, frames, **options)
        return [SimpleNamespace(alignments=one.alignments, text_token_probs=one.text_token_probs) for one in found]


def _view(encoded: Encoded) -> Any:
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(encoded))


def _listen(connection: Connection, calls: queue.SimpleQueue[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> None:
    """Takes calls in; ends the process with the one that makes them, even in the middle of a call."""
    try:
        while True:
            calls.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)


def _outcome(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Gives what the function gives, or the exception that it raises."""
    try:
        return function(*arguments, **options)
    except (RuntimeError, MemoryError, ValueError) as error:
        return error


def main() -> None:
    """Loads, says whether the model is multilingual and how many mels it reads, then answers calls one by one."""
    folder, compute_type, threads, descriptor = sys.argv[1:]
    # A signal to the whole process group is its parent's to heed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(int(descriptor))
    calls: queue.SimpleQueue[tuple[str, tuple[Any, ...], dict[str, Any]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, calls), daemon=True).start()
    load = partial(ctranslate2.models.Whisper, folder, compute_type=compute_type, intra_threads=int(threads))
    model = _outcome(load)
    if isinstance(model, Exception):
        connection.send(model)
        return
    weights = WhisperWeights(model)
    connection.send((weights.is_multilingual, weights.mels))
    while True:
        name, arguments, options = calls.get()
        if name == "seed":
            # CTranslate2 seeds the lots of a model's thread when it first draws, and never again. To load takes a tenth
            # of a second for whisper-base, a quarter of what drawing takes.
            del weights, model
            ctranslate2.set_random_seed(*arguments)
            model = load()
            weights = WhisperWeights(model)
            connection.send(None)
            continue
        connection.send(_outcome(getattr(weights, name), *arguments, **options))


if __name__ == "__main__":
    main()
