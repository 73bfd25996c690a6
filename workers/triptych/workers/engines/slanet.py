"""Finds the cells of a table with SLANet: a network that writes the table's HTML and a box for each cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from triptych.core.errors import JobCancelled
from triptych.v1.common_pb2 import ModelRef
from triptych.workers.engines.heeding import Unwanted, left_when
from triptych.workers.engines.layout import Box
from triptych.workers.engines.onnx_sessions import OnnxModel, network_input
from triptych.workers.engines.table import Grid, GridCell, TableEngine, TableImage

# Longer side that the network sees; the rest of its square is empty.
_SIDE = 488
_SPAN = re.compile(r' (row|col)span="(\d+)"')
# A cell begins with one of these.
_CELLS = ("<td></td>", "<td")
# A span beyond it is a slip of the network.
_MAX_SPAN = 20


class SlanetEngine(TableEngine):
    """A SLANet or SLANet_plus that PaddleX trained.

    Tables run one after the other: on a CPU a batch of them takes longer (measured: 1.2 against 0.8 CPU s for six),
    as each is written until the longest ends.

    Args:
        folder: Holds one `*.onnx`; its tags stand in the metadata key `character`.
        model: Named in results.
        device: "cpu", "cuda", or "auto": a GPU if ONNX Runtime has one.
        threads: CPU threads.
    """

    def __init__(self, folder: Path, model: ModelRef, *, device: str, threads: int) -> None:
        self.model = model
        self._folder = folder
        self._device = device
        self._threads = threads

    def load(self) -> None:
        """See `Engine.load`.

        Raises:
            ModelNotFound, FeatureDisabled: See `OnnxModel`.
        """
        self._network = OnnxModel(self._folder, device=self._device, threads=self._threads)
        tags = [tag for tag in self._network.metadata["character"].split("\n") if tag != "<td>"]
        # The network begins with a mark of its own and ends with one.
        self._tags = ["", *tags, *([] if "<td></td>" in tags else ["<td></td>"]), ""]

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        self.run_batch([TableImage(pixels=np.full((64, 64, 3), 255, np.uint8))])

    def run_batch(self, items: Sequence[TableImage]) -> list[Grid | Exception]:
        """See `Engine.run_batch`.

        Returns:
            JobCancelled for a table that was stopped.
        """
        return [self._grid(item) for item in items]

    def _grid(self, item: TableImage) -> Grid | Exception:
        height, width, _ = item.pixels.shape
        scale = _SIDE / max(height, width)
        image = np.zeros((3, _SIDE, _SIDE), np.float32)
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        image[:, :rows, :columns] = network_input(item.pixels, width=columns, height=rows)
        try:
            with left_when(item.stopped):
                corners, odds = self._network.run(image)
        except Unwanted:
            return JobCancelled("stopped before the table was read")
        return self._read(corners[0], odds[0], max(height, width))

    def _read(self, corners: npt.NDArray[np.float32], odds: npt.NDArray[np.float32], side_px: int) -> Grid:
        chosen = odds.argmax(axis=1)
        ends = np.flatnonzero(chosen[1:] == len(self._tags) - 1) + 1
        # Without an end the network ran out of room: the rest of the table is missing.
        length = int(ends[0]) if len(ends) else len(chosen)
        tags = [self._tags[index] for index in chosen[:length]]
        boxes = [_box(corners[at] * side_px) for at, tag in enumerate(tags) if tag in _CELLS]
        confidence = float(odds[:length].max(axis=1).mean()) if length and len(ends) else 0.0
        return grid_of(tags, boxes, confidence)


def grid_of(tags: Iterable[str], boxes: Iterable[Box], confidence: float) -> Grid:
    """Puts the cells of a table's HTML where HTML puts them; spans that leave the table or meet others are cut.

    Args:
        tags: Of rows and cells; a cell with spans is `<td`, its attributes and `>`.
        boxes: One for each cell.
        confidence: Of the whole.
    """
    rows, remaining = _rows(tags), iter(boxes)
    cells: list[GridCell] = []
    taken: set[tuple[int, int]] = set()
    for row, row_cells in enumerate(rows):
        column = 0
        for row_span, column_span, header in row_cells:
            while (row, column) in taken:
                column += 1
            end = column + 1
            while end < column + column_span and (row, end) not in taken:
                end += 1
            down = min(row_span, len(rows) - row)
            taken |= {(row + y, x) for y in range(down) for x in range(column, end)}
            cells.append(
                GridCell(
                    row=row,
                    column=column,
                    row_span=down,
                    column_span=end - column,
                    box=next(remaining),
                    header=header,
                )
            )
            column = end
    width = max((cell.column + cell.column_span for cell in cells), default=0)
    return Grid(cells=tuple(cells), row_count=len(rows), column_count=width, confidence=confidence)


def _rows(tags: Iterable[str]) -> list[list[tuple[int, int, bool]]]:
    """Gives row span, column span and whether it stands in the head, of each cell of each row."""
    rows: list[list[tuple[int, int, bool]]] = []
    spans, header = {"row": 1, "col": 1}, False
    for tag in tags:
        if "thead" in tag:
            header = not tag.startswith("</")
        elif tag == "<tr>":
            rows.append([])
        elif found := _SPAN.fullmatch(tag):
            spans[found[1]] = min(_MAX_SPAN, int(found[2]))
        elif tag in {"<td></td>", ">"}:
            rows = rows or [[]]
            rows[-1].append((spans["row"], spans["col"], header))
            spans = {"row": 1, "col": 1}
    return rows


def _box(corners: npt.NDArray[np.float32]) -> Box:
    x, y = corners[::2], corners[1::2]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
