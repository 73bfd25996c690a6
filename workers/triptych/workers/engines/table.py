"""What a table engine is: the picture of a table in, its cells with their rows, columns and spans out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.base import Engine
from triptych.workers.engines.layout import Box


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableImage:
    """One table.

    Attributes:
        pixels: Shape (height, width, 3), RGB, upright; little more than the table.
        stopped: Whether nobody wants it any more; asked between steps.
    """

    pixels: npt.NDArray[np.uint8]
    stopped: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """One cell, which may cover several places of the grid.

    Attributes:
        row, column: Its top left place, from 0.
        row_span, column_span: Places covered, at least 1.
        box: Where its text may be, in pixels of the picture.
        header: Whether the engine takes it for a heading.
    """

    row: int
    column: int
    row_span: int = 1
    column_span: int = 1
    box: Box
    header: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table without its text.

    Attributes:
        cells: Row by row; no two cover the same place.
        row_count, column_count: Size.
        confidence: 0 to 1.
    """

    cells: tuple[GridCell, ...]
    row_count: int
    column_count: int
    confidence: float


class TableEngine(Engine[TableImage, Grid]):
    """Finds the cells of tables. What is no table may come back as a grid of any size, or as one without cells."""

    def cost(self, item: TableImage) -> float:
        """Pixels, as pages cost elsewhere; the network itself sees each in one size."""
        height, width, _ = item.pixels.shape
        return float(height * width)
