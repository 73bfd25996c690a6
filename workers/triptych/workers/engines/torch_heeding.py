"""Leaves a torch model in the middle of its forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.nn import Linear, Module

from triptych.workers.engines.heeding import heed, left_when


def make_heeding(model: Module) -> None:
    """Has the model ask before every matrix multiplication from now on, whatever calls it."""
    for module in model.modules():
        if isinstance(module, Linear):
            module.register_forward_pre_hook(lambda *_: heed())


@contextmanager
def model_left_when(model: Module, unwanted: Callable[[], bool]) -> Iterator[None]:
    """Asks before every matrix multiplication of the model. What is computed meanwhile stays the same to the last bit.

    A layer would be too long a step: with a prompt of 8,000 tokens it takes a CPU more than a second.

    Raises:
        Unwanted: Out of the model's own code, as soon as `unwanted` says so.
    """
    hooks = [
        module.register_forward_pre_hook(lambda *_: heed()) for module in model.modules() if isinstance(module, Linear)
    ]
    try:
        with left_when(unwanted):
            yield
    finally:
        for hook in hooks:
            hook.remove()
