"""Where torch runs, in which number format, and how it says that memory ran out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from triptych.core.errors import FeatureDisabled
from triptych.workers.memory_meters import MemoryMeter, ProcessMemory, TorchCudaMemory


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


def weights_bytes(model: torch.nn.Module) -> int:
    """Gives the memory that a model's weights take."""
    return sum(one.numel() * one.element_size() for one in (*model.parameters(), *model.buffers()))


def memory_meter(device: str) -> MemoryMeter:
    """Gives what measures the memory that torch takes on a device, as `device_of` names it."""
    return ProcessMemory() if device == "cpu" else TorchCudaMemory(torch.cuda)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns torch's ways of saying that memory ran out into MemoryError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except RuntimeError as error:
        # The allocator of the CPU has no exception of its own.
        if "can't allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise
