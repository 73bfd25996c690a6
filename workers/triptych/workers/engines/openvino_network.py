"""Networks on OpenVINO."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triptych.workers import heap
from triptych.workers.engines.network import Array, ResultT


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

        # Requests that are done: a new one would have to fetch all its memory.
        self._idle: deque[Any] = deque()

    def begin(self, values: Array) -> _OpenVinoRun:
        """See `Network.begin`."""
        return _OpenVinoRun(self._model, self._idle, values)

    def release(self) -> None:
        """See `Network.release`."""
        self._idle.clear()
        self._model.release_memory()
        heap.trim()  # weights are packed anew for every width of lines: 0.2 GB of small blocks


class _OpenVinoRun:
    """A run that is never broken off: what a cancelled one leaves in its stream makes later runs give other numbers."""

    def __init__(self, model: Any, idle: deque[Any], values: Array) -> None:
        self._idle = idle
        self._request: Any = idle.pop() if idle else model.create_infer_request()
        self._values = values
        self.left = False

    def result(self, make: Callable[[Array], ResultT]) -> ResultT:
        if self.left:
            raise RuntimeError("left before it began")
        self._request.infer({0: self._values}, share_inputs=True)
        made = make(self._request.get_output_tensor(0).data)
        self._idle.append(self._request)
        return made

    def leave(self) -> None:
        self.left = True


def computes_in_bfloat16() -> bool:
    """Tells whether the CPU does."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
