"""Chooses what runs the networks of text recognition, and loads them with it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from triptych.core.errors import FeatureDisabled, ModelNotFound
from triptych.workers.engines.network import Lanes
from triptych.workers.engines.onnx_network import OnnxNetwork, has_gpu
from triptych.workers.engines.openvino_network import OpenVinoNetwork, computes_in_bfloat16
from triptych.workers.engines.paddle_network import PaddleNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class OcrRuntime:
    """What runs models in ONNX format; those in PaddlePaddle's own format run on PaddlePaddle.

    Attributes:
        name: "onnxruntime" or "openvino".
        device: "cpu", "cuda" or "auto".
        threads: CPU threads in all.
        compute_type: "float32" or "bfloat16" (OpenVINO only).
    """

    name: str = "onnxruntime"
    device: str = "auto"
    threads: int = 1
    compute_type: str = "float32"

    @classmethod
    def chosen(cls, name: str, *, device: str, threads: int, compute_type: str) -> OcrRuntime:
        """Gives what the settings ask for.

        Args:
            name: "onnxruntime", "openvino" or "auto".
            device: "cpu", "cuda" or "auto".
            threads: CPU threads.
            compute_type: "float32", "bfloat16" or "auto".

        Raises:
            FeatureDisabled: It is not installed, or cannot run so.
        """
        if name == "auto":
            # In float32 OpenVINO is no faster, and texts are the same on every CPU.
            name = "openvino" if compute_type == "bfloat16" else "onnxruntime"
        if importlib.util.find_spec(name) is None:
            extra = "openvino" if name == "openvino" else "ocr"
            how = f"pip install 'triptych[{extra}]'"
            raise FeatureDisabled(f"{name} is not installed: {how}", metadata={"extra": extra})
        if name == "openvino" and device == "cuda":
            raise FeatureDisabled("device is cuda, but OpenVINO is for CPUs here: set TRIPTYCH_OCR_RUNTIME=onnxruntime")
        has_bfloat16 = name == "openvino" and computes_in_bfloat16()
        if compute_type == "auto":
            compute_type = "bfloat16" if has_bfloat16 else "float32"
        if compute_type == "bfloat16" and not has_bfloat16:
            raise FeatureDisabled(f"{name} does not compute in bfloat16 here: set TRIPTYCH_OCR_COMPUTE_TYPE=float32")
        return cls(name=name, device=device, threads=threads, compute_type=compute_type)

    @property
    def version(self) -> str:
        """Name and version of what computes, and the number format unless it is float32: other numbers, other texts."""
        version = f"{self.name}/{importlib.metadata.version(self.name)}"
        return version if self.compute_type == "float32" else f"{version}+{self.compute_type}"

    @property
    def on_gpu(self) -> bool:
        """Whether networks run on a GPU."""
        return self.name == "onnxruntime" and self.device != "cpu" and has_gpu()

    def load(self, folder: Path, *, lanes: int = 1) -> Lanes:
        """Loads the network in a folder.

        Args:
            folder: Has inference.onnx, or a model in PaddlePaddle's format.
            lanes: Runs at once, among which the CPU threads are shared.

        Raises:
            ModelNotFound: The folder has no network.
            FeatureDisabled: What the network needs is not installed.
        """
        file, threads = folder / "inference.onnx", max(1, self.threads // lanes)
        if (folder / "inference.pdiparams").is_file() and not file.is_file():
            return Lanes(PaddleNetwork(folder, device=self.device, threads=self.threads), 1)
        if not file.is_file():
            raise ModelNotFound(f"{folder} has neither inference.onnx nor inference.pdiparams")
        if self.name == "openvino":
            return Lanes(OpenVinoNetwork(file, threads=threads, lanes=lanes, compute_type=self.compute_type), lanes)
        return Lanes(OnnxNetwork(file, device=self.device, threads=threads), lanes)
