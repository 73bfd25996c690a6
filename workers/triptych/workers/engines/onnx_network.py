"""Networks on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.errors import FeatureDisabled
from triptych.workers.engines.network import Array, ResultT

# Fetching anew what detection had costs a tenth of one of its runs; so it is kept after a page or two.
_RUNS_WORTH_A_RELEASE = 4
# Memory is given back at the end of a run, so one has to be made.
_LEAST_SIDE_PX = 64


class OnnxNetwork:
    """A network in ONNX format.

    Args:
        file: Of the model.
        device: "cpu", "cuda", or "auto": a GPU if ONNX Runtime has one.
        threads: CPU threads of one run.

    Raises:
        FeatureDisabled: "cuda" is wanted, but ONNX Runtime was built without it.
    """

    def __init__(self, file: Path, *, device: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # it warns of shapes that it cannot know
        # A plan of memory is kept for every shape of input, and grows without end: detection at A4 took 0.7 GB more.
        options.enable_mem_pattern = False
        # Threads that wait for each other by spinning burn a sixth of all CPU seconds.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(file), options, providers=_providers(device))
        self._on_cpu = self._session.get_providers()[0] == "CPUExecutionProvider"
        [taken] = self._session.get_inputs()
        self._input: str = taken.name
        self._least_shape = [1, *(side if isinstance(side, int) else _LEAST_SIDE_PX for side in taken.shape[1:])]
        self._run_count = 0

    def begin(self, values: Array) -> _OnnxRun:
        """See `Network.begin`."""
        self._run_count += 1
        return _OnnxRun(self._session, {self._input: values})

    def release(self) -> None:
        """See `Network.release`."""
        if not self._on_cpu or self._run_count < _RUNS_WORTH_A_RELEASE:
            return
        from onnxruntime import RunOptions

        options = RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._session.run(None, {self._input: np.zeros(self._least_shape, np.float32)}, options)
        self._run_count = 0


class _OnnxRun:
    def __init__(self, session: Any, feeds: dict[str, Array]) -> None:
        from onnxruntime import RunOptions

        self._session = session
        self._feeds = feeds
        self._options = RunOptions()

    @property
    def left(self) -> bool:
        return bool(self._options.terminate)

    def result(self, make: Callable[[Array], ResultT]) -> ResultT:
        return make(self._session.run(None, self._feeds, self._options)[0])

    def leave(self) -> None:
        self._options.terminate = True


def has_gpu() -> bool:
    """Tells whether ONNX Runtime was built for a GPU."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _providers(device: str) -> list[str]:
    if device == "cuda" and not has_gpu():
        raise FeatureDisabled("device is cuda, but ONNX Runtime has no CUDA provider: install onnxruntime-gpu")
    gpu = ["CUDAExecutionProvider"] if has_gpu() and device != "cpu" else []
    return [*gpu, "CPUExecutionProvider"]
