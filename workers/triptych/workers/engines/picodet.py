"""Finds the blocks of a page with PicoDet, as PP-Structure trained it for documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import JobCancelled
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import BlockKind
from triptych.workers.engines.heeding import Unwanted, left_when
from triptych.workers.engines.layout import LayoutEngine, LayoutImage, Region
from triptych.workers.engines.onnx_sessions import OnnxModel, network_input

Values = npt.NDArray[np.float32]

# The classes of CDLA (https://github.com/buptlihang/CDLA). What it calls a title is any heading; a reference is an
# entry of a bibliography.
_KINDS = {
    "text": BlockKind.BLOCK_KIND_PARAGRAPH,
    "title": BlockKind.BLOCK_KIND_HEADING,
    "figure": BlockKind.BLOCK_KIND_FIGURE,
    "figure_caption": BlockKind.BLOCK_KIND_CAPTION,
    "table": BlockKind.BLOCK_KIND_TABLE,
    "table_caption": BlockKind.BLOCK_KIND_CAPTION,
    "header": BlockKind.BLOCK_KIND_PAGE_HEADER,
    "footer": BlockKind.BLOCK_KIND_PAGE_FOOTER,
    "reference": BlockKind.BLOCK_KIND_PARAGRAPH,
    "equation": BlockKind.BLOCK_KIND_FORMULA,
}
_WIDTH, _HEIGHT = 608, 800
# Cells of the network's four grids, in pixels of its input.
_STRIDES = (8, 16, 32, 64)
# As PP-Structure has them.
MIN_CONFIDENCE = 0.4
_MAX_OVERLAP = 0.5


class PicoDetEngine(LayoutEngine):
    """A PicoDet without its last step, as PaddleDetection exports it: scores and borders by grid cell.

    The network takes one page at a time; pages of a batch run one after the other, and none depends on its company.

    Args:
        folder: Holds one `*.onnx` with 608 x 800 px of input, its classes in the metadata key `character`.
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
        self._classes = self._network.metadata["character"].split("\n")

    def warm_up(self) -> None:
        """See `Engine.warm_up`."""
        self.run_batch([LayoutImage(pixels=np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8))])

    def run_batch(self, items: Sequence[LayoutImage]) -> list[tuple[Region, ...] | Exception]:
        """See `Engine.run_batch`.

        Returns:
            JobCancelled for a page that was stopped.
        """
        return [self._regions(item) for item in items]

    def _regions(self, item: LayoutImage) -> tuple[Region, ...] | Exception:
        height, width, _ = item.pixels.shape
        try:
            with left_when(item.stopped):
                outputs = self._network.run(network_input(item.pixels, width=_WIDTH, height=_HEIGHT))
        except Unwanted:
            return JobCancelled("stopped before the layout was found")
        boxes, scores = decoded(outputs)
        size = np.array([width, height] * 2)
        boxes = np.clip(boxes * size / ([_WIDTH, _HEIGHT] * 2), 0, size)
        return tuple(self._found(boxes, scores))

    def _found(self, boxes: Values, scores: Values) -> list[Region]:
        import cv2

        regions = []
        for index, name in enumerate(self._classes):
            likely = scores[:, index] > MIN_CONFIDENCE
            some, confidences = boxes[likely], scores[likely, index]
            corner_and_size = np.hstack([some[:, :2], some[:, 2:] - some[:, :2]])
            kept = cv2.dnn.NMSBoxes(corner_and_size.tolist(), confidences.tolist(), MIN_CONFIDENCE, _MAX_OVERLAP)
            for at in np.asarray(kept, dtype=int).ravel():
                left, top, right, bottom = map(float, some[at])
                if left < right and top < bottom:
                    kind = _KINDS.get(name, BlockKind.BLOCK_KIND_OTHER)
                    confidence = float(confidences[at])
                    regions.append(Region(kind=kind, box=(left, top, right, bottom), confidence=confidence))
        return regions


def decoded(outputs: Sequence[Any]) -> tuple[Values, Values]:
    """Reads the outputs of the network: the first four are scores, the others the borders of the same four grids.

    A border is a distribution over its distance from the middle of the cell, in cells (Generalized Focal Loss,
    https://arxiv.org/abs/2006.04388): its mean counts.

    Returns:
        Boxes of shape (cells, 4) in pixels of the input, and scores of shape (cells, classes).
    """
    boxes = []
    grids = len(_STRIDES)
    for stride, borders in zip(_STRIDES, outputs[grids:], strict=True):
        columns, rows = -(-_WIDTH // stride), -(-_HEIGHT // stride)
        y, x = np.mgrid[:rows, :columns]
        middles = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        odds = borders[0].reshape(rows * columns, 4, -1)
        likely = np.exp(odds - odds.max(axis=-1, keepdims=True))
        likely /= likely.sum(axis=-1, keepdims=True)
        distances = (likely * np.arange(odds.shape[-1])).sum(axis=-1) * stride
        boxes.append(np.hstack([middles - distances[:, :2], middles + distances[:, 2:]]))
    return np.concatenate(boxes).astype(np.float32), np.concatenate([scores[0] for scores in outputs[:grids]])
