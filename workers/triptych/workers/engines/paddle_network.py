"""Networks in PaddlePaddle's own format, on PaddlePaddle."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triptych.core.errors import FeatureDisabled
from triptych.workers.engines.network import Array, ResultT


class PaddleNetwork:
    """A network as PaddlePaddle exports it. It runs one input after the other, and a run is not left amid it.

    Args:
        folder: Has inference.json (or inference.pdmodel) and inference.pdiparams.
        device: "cpu", "cuda", or "auto": a GPU if PaddlePaddle was built for one.
        threads: CPU threads of one run.

    Raises:
        FeatureDisabled: PaddlePaddle is not installed, or not for a GPU that is wanted.
    """

    def __init__(self, folder: Path, *, device: str, threads: int) -> None:
        if importlib.util.find_spec("paddle") is None:
            raise FeatureDisabled(
                f"{folder} is in PaddlePaddle's format, which needs paddlepaddle: pip install 'triptych[paddle]'; "
                "or convert it to ONNX",
                metadata={"extra": "paddle"},
            )
        import paddle
        from paddle import inference

        has_gpu = bool(paddle.is_compiled_with_cuda())
        if device == "cuda" and not has_gpu:
            raise FeatureDisabled("device is cuda, but PaddlePaddle was built without it: install paddlepaddle-gpu")
        graph = next(file for suffix in ("json", "pdmodel") if (file := folder / f"inference.{suffix}").is_file())
        config = inference.Config(str(graph), str(folder / "inference.pdiparams"))
        config.disable_glog_info()
        if has_gpu and device != "cpu":
            config.enable_use_gpu(256, 0)
        else:
            config.disable_gpu()
            config.disable_mkldnn()  # oneDNN in PaddlePaddle 3.3 fails on current CPUs
            config.set_cpu_math_library_num_threads(threads)
        self._predictor = inference.create_predictor(config)

    def begin(self, values: Array) -> _PaddleRun:
        """See `Network.begin`."""
        return _PaddleRun(self._predictor, values)

    def release(self) -> None:
        """See `Network.release`: it offers nothing of the kind."""


class _PaddleRun:
    def __init__(self, predictor: Any, values: Array) -> None:
        self._predictor = predictor
        self._values = values
        self.left = False

    def result(self, make: Callable[[Array], ResultT]) -> ResultT:
        taken = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        taken.reshape(self._values.shape)
        taken.copy_from_cpu(self._values)
        self._predictor.run()
        given = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
        return make(given.copy_to_cpu())

    def leave(self) -> None:
        self.left = True
