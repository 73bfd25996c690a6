"""Leaves a torch model in the middle of its forward pass."""

from __future__ import annotations

from torch.nn import Linear, Module

from triptych.workers.engines.heeding import heed


def make_heeding(model: Module) -> None:
    """Has the model ask before every matrix multiplication from now on, whatever calls it.

    What is computed meanwhile stays the same to the last bit. A layer would be too long a step: with a prompt of 8,000
    tokens it takes a CPU more than a second.
    """
    for module in model.modules():
        if isinstance(module, Linear):
            module.register_forward_pre_hook(lambda *_: heed())
