"""Opens a folder with a speech model of transformers, on the device and in the number format that are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSpeechSeq2Seq, AutoTokenizer

from triptych.core.errors import FieldInvalid, ModelNotFound
from triptych.workers.engines.torch_device import default_dtype, device_of

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_network(folder: Path, device: str, compute_type: str, threads: int) -> Any:
    """Gives the loaded model, in evaluation mode.

    Args:
        folder: As transformers saves it.
        device: "cpu", "cuda" or "auto".
        compute_type: "float32", "bfloat16", "float16" (GPU only), or "auto".
        threads: CPU threads.

    Raises:
        ModelNotFound: The folder holds no such model.
        FeatureDisabled: torch finds no GPU.
        FieldInvalid: The number format is none of these.
    """
    place = device_of(device)
    dtype = dtype_of(compute_type, place)
    torch.set_num_threads(threads)
    try:
        network: Any = AutoModelForSpeechSeq2Seq.from_pretrained(folder, dtype=dtype, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelNotFound(f"{folder} cannot be loaded as a speech model of transformers: {error}") from error
    return network.to(place).eval()


def open_tokenizer(folder: Path) -> Any:
    """Gives the model's tokenizer.

    Raises:
        ModelNotFound: There is none.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelNotFound(f"{folder} has no tokenizer that can be loaded: {error}") from error


def dtype_of(compute_type: str, device: str) -> torch.dtype:
    """Gives the number format of the weights.

    Raises:
        FieldInvalid: transformers does not have it, or not on this device.
    """
    if compute_type == "auto":
        return default_dtype(device) if device == "cpu" else torch.float16
    if compute_type not in _DTYPES or (compute_type == "float16" and device == "cpu"):
        known = [name for name in _DTYPES if name != "float16" or device != "cpu"]
        raise FieldInvalid("speech_compute_type", f"transformers on {device} has no {compute_type}, only {known}")
    return _DTYPES[compute_type]
