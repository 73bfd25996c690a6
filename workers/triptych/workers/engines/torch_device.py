"""Where torch runs, and in which number format."""

from __future__ import annotations

from typing import Any

import torch

from triptych.core.errors import FeatureDisabled


def device_of(device: str) -> str:
    """Gives "cpu" or "cuda"; "auto" takes a GPU if there is one.

    Raises:
        FeatureDisabled: "cuda" is wanted, but torch finds none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise FeatureDisabled("device is cuda, but torch finds no GPU, or was built without CUDA")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def default_dtype(device: str) -> torch.dtype:
    """Gives bfloat16 where the device computes in it, else float32: emulated, bfloat16 is the slower one."""
    if device != "cpu":
        return torch.bfloat16
    # Older releases of torch cannot tell.
    has: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") else torch.float32
