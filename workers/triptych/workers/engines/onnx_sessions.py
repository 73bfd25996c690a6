"""Opens models in ONNX format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import FeatureDisabled, ModelNotFound
from triptych.workers.engines.onnx_heeding import HeedingSession

Pixels = npt.NDArray[np.uint8]

# Of ImageNet, in the order of the channels that PaddlePaddle's models are trained with: blue, green, red.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class OnnxModel:
    """A model in a folder that holds one `*.onnx`.

    Args:
        folder: Of the model.
        device: "cpu", "cuda", or "auto": a GPU if ONNX Runtime has one.
        threads: CPU threads.

    Raises:
        ModelNotFound: There is no such file, or several.
        FeatureDisabled: "cuda" is wanted, but ONNX Runtime was built without it.
    """

    def __init__(self, folder: Path, *, device: str, threads: int) -> None:
        import onnxruntime

        files = sorted(folder.glob("*.onnx"))
        if len(files) != 1:
            raise ModelNotFound(f"{folder} has to hold one *.onnx, not {len(files)}")
        has_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        if device == "cuda" and not has_gpu:
            raise FeatureDisabled("device is cuda, but ONNX Runtime has no CUDA provider: install onnxruntime-gpu")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # it warns of shapes that it cannot know
        providers = ["CUDAExecutionProvider"] if has_gpu and device != "cpu" else []
        session = onnxruntime.InferenceSession(
            str(files[0]), sess_options=options, providers=[*providers, "CPUExecutionProvider"]
        )
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        self._input: str = session.get_inputs()[0].name
        self._session = HeedingSession(session)

    def run(self, image: npt.NDArray[np.float32]) -> list[Any]:
        """Gives the outputs for one image of shape (3, height, width).

        Raises:
            Exception: What leaves the block of `heeding` around it.
        """
        return self._session.run([], {self._input: image[np.newaxis]})


def network_input(image: Pixels, *, width: int, height: int) -> npt.NDArray[np.float32]:
    """Scales an image to a size, as PaddlePaddle's models are trained with it.

    Args:
        image: Shape (rows, columns, 3), RGB.
        width: To scale to.
        height: To scale to.

    Returns:
        Shape (3, height, width), blue first.
    """
    import cv2

    scaled = cv2.resize(image, (width, height))[..., ::-1]
    normal = (scaled / np.float32(255) - _MEAN) / _DEVIATION
    return normal.astype(np.float32).transpose(2, 0, 1)
