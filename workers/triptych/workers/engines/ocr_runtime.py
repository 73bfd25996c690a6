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
        pages: Runs what looks at whole pages (detection, orientation): "onnxruntime" or "openvino".
        lines: Runs what reads lines (recognition): "onnxruntime" or "openvino".
        device: "cpu", "cuda" or "auto".
        threads: CPU threads in all.
        compute_type: "float32" or "bfloat16", of what OpenVINO runs.
    """

    pages: str = "onnxruntime"
    lines: str = "onnxruntime"
    device: str = "auto"
    threads: int = 1
    compute_type: str = "float32"

    @classmethod
    def chosen(cls, name: str, *, device: str, threads: int, compute_type: str) -> OcrRuntime:
        """Gives what the settings ask for.

        Args:
            name: "onnxruntime", "openvino" or "auto": where OpenVINO is installed and bfloat16 is had and allowed, it
                reads lines in that. Pages stay with ONNX Runtime, as bfloat16 moves boxes, which costs words.
            device: "cpu", "cuda" or "auto".
            threads: CPU threads.
            compute_type: "float32", "bfloat16" or "auto".

        Raises:
            FeatureDisabled: It is not installed, or cannot run so.
        """
        pages = lines = name
        if name == "auto":
            # In float32 OpenVINO is no faster.
            gains = compute_type == "auto" and not _on_gpu(device) and _is_installed("openvino")
            gains = gains and computes_in_bfloat16()
            pages, lines = "onnxruntime", "openvino" if gains or compute_type == "bfloat16" else "onnxruntime"
        for one in (pages, lines):
            if not _is_installed(one):
                extra = "openvino" if one == "openvino" else "ocr"
                how = f"pip install 'triptych[{extra}]'"
                raise FeatureDisabled(f"{one} is not installed: {how}", metadata={"extra": extra})
        if lines == "openvino" and device == "cuda":
            raise FeatureDisabled("device is cuda, but OpenVINO is for CPUs here: set TRIPTYCH_OCR_RUNTIME=onnxruntime")
        has_bfloat16 = lines == "openvino" and computes_in_bfloat16()
        if compute_type == "auto":
            compute_type = "bfloat16" if has_bfloat16 else "float32"
        if compute_type == "bfloat16" and not has_bfloat16:
            raise FeatureDisabled(f"{lines} does not compute in bfloat16 here: set TRIPTYCH_OCR_COMPUTE_TYPE=float32")
        return cls(pages=pages, lines=lines, device=device, threads=threads, compute_type=compute_type)

    @property
    def version(self) -> str:
        """What computes, and the number format unless it is float32: other numbers, other texts."""
        version = "+".join(f"{name}/{importlib.metadata.version(name)}" for name in sorted({self.pages, self.lines}))
        return version if self.compute_type == "float32" else f"{version}+{self.compute_type}"

    @property
    def on_gpu(self) -> bool:
        """Whether networks run on a GPU."""
        return self.lines == "onnxruntime" and _on_gpu(self.device)

    @property
    def max_run_width_px(self) -> int:
        """Width of all lines that are read in one run."""
        if self.on_gpu:
            return 16 * 640
        # OpenVINO keeps weights packed for every shape of input: of the 18 widths, and not of their counts as well.
        # Else larger runs gain nothing and take memory: the output is 18,710 classes wide.
        return 1 if self.lines == "openvino" else 4 * 640

    def load(self, folder: Path) -> Lanes:
        """Loads a network that looks at whole pages, one at a time.

        Args:
            folder: Has inference.onnx, or a model in PaddlePaddle's format.

        Raises:
            ModelNotFound: The folder has no network.
            FeatureDisabled: What the network needs is not installed.
        """
        return self._loaded(self.pages, folder, 1)

    def load_recognizer(self, folder: Path) -> Lanes:
        """Loads a network that reads lines; see `load`.

        On a CPU as many runs at once as there are threads, on a GPU one.
        """
        return self._loaded(self.lines, folder, 1 if self.on_gpu else self.threads)

    def _loaded(self, name: str, folder: Path, lanes: int) -> Lanes:
        file, threads = folder / "inference.onnx", max(1, self.threads // lanes)
        if (folder / "inference.pdiparams").is_file() and not file.is_file():
            return Lanes(PaddleNetwork(folder, device=self.device, threads=self.threads), 1)
        if not file.is_file():
            raise ModelNotFound(f"{folder} has neither inference.onnx nor inference.pdiparams")
        if name == "openvino":
            return Lanes(OpenVinoNetwork(file, threads=threads, lanes=lanes, compute_type=self.compute_type), lanes)
        return Lanes(OnnxNetwork(file, device=self.device, threads=threads), lanes)


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _on_gpu(device: str) -> bool:
    return device == "cuda" or (device == "auto" and has_gpu())
