"""Sessions of ONNX Runtime whose runs can be left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.heeding import HEED_EVERY_S, heed

# Of the voice detector: 16 s of sound.
_ROWS_A_RUN = 500


class HeedingSession:
    """A session that runs on a thread of its own, while the caller's asks; a run is left at its next operator.

    Args:
        session: An `onnxruntime.InferenceSession`; only one thread runs it.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="onnx")

    def run(self, names: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        """See `onnxruntime.InferenceSession.run`.

        Raises:
            Exception: What leaves the block of `heeding` around it.
        """
        from onnxruntime import RunOptions

        options = RunOptions()
        running = self._thread.submit(self._session.run, names, feeds, options)
        try:
            while not wait([running], HEED_EVERY_S).done:
                heed()
        except BaseException:
            options.terminate = True
            wait([running])
            raise
        found: list[Any] = running.result()
        return found


class HeedingVoiceSession:
    """The session of Silero's voice detector, run in parts; its state goes from one to the next as it does within one.

    Args:
        session: An `onnxruntime.InferenceSession`, for any thread.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(
        self, names: None, feeds: Mapping[str, npt.NDArray[np.float32]]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """See `onnxruntime.InferenceSession.run`.

        Raises:
            Exception: What leaves the block of `heeding` around it.
        """
        rows, h, c = feeds["input"], feeds["h"], feeds["c"]
        outputs = []
        for first in range(0, len(rows), _ROWS_A_RUN):
            heed()
            part = {"input": rows[first : first + _ROWS_A_RUN], "h": h, "c": c}
            output, h, c = self._session.run(names, part)
            outputs.append(output)
        return np.concatenate(outputs), h, c
