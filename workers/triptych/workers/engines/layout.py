"""What a layout engine is: a page in, the regions of its headings, tables, figures and texts out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triptych.v1.ocr_pb2 import BlockKind
from triptych.workers.engines.base import Engine

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayoutImage:
    """One page whose regions are wanted.

    Attributes:
        pixels: Shape (height, width, 3), RGB, upright.
        stopped: Whether nobody wants it any more; asked between steps.
    """

    pixels: npt.NDArray[np.uint8]
    stopped: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Something on a page.

    Attributes:
        kind: What it is.
        box: Where, in pixels of the page.
        confidence: 0 to 1.
    """

    kind: BlockKind.ValueType
    box: Box
    confidence: float


class LayoutEngine(Engine[LayoutImage, tuple[Region, ...]]):
    """Finds the regions of pages, in any order; they may overlap where it is in doubt."""

    def cost(self, item: LayoutImage) -> float:
        """Pixels, as pages cost elsewhere; the network itself sees each in one size."""
        height, width, _ = item.pixels.shape
        return float(height * width)
