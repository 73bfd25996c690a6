"""Networks on OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from triptych.workers import heap
from triptych.workers.engines.network import Array


class OpenVinoNetwork:
    """A network in ONNX format, on a CPU.

    Args:
        file: Of the model.
        threads: CPU threads of one run.
        lanes: Runs at once.
        compute_type: "float32" or "bfloat16".
    """

    def __init__(self, file: Path, *, threads: int, lanes: int, compute_type: str) -> None:
        import openvino

        options = {
            "INFERENCE_NUM_THREADS": threads * lanes,
            "NUM_STREAMS": lanes,
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[compute_type],
            "ENABLE_CPU_PINNING": False,  # other engines run on these cores too
        }
        self._model = openvino.Core().compile_model(str(file), "CPU", options)

    def begin(self, values: Array) -> _OpenVinoRun:
        """See `Network.begin`."""
        return _OpenVinoRun(self._model.create_infer_request(), values)

    def release(self) -> None:
        """See `Network.release`: between them, detection and recognition would hold 2 GB."""
        self._model.release_memory()
        heap.trim()  # weights are packed anew for every width of lines: 0.2 GB of small blocks


class _OpenVinoRun:
    def __init__(self, request: Any, values: Array) -> None:
        self._request = request
        self._values = values
        self.left = False

    def result(self) -> Array:
        if self.left:
            raise RuntimeError("left before it began")
        # Not `infer`, which cannot be cancelled.
        self._request.start_async({0: self._values}, share_inputs=True)
        self._request.wait()
        # Shared with the request, which this run keeps.
        return np.asarray(self._request.get_output_tensor(0).data, np.float32)

    def leave(self) -> None:
        self.left = True
        self._request.cancel()  # does nothing where it has not begun


def computes_in_bfloat16() -> bool:
    """Tells whether the CPU does."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
