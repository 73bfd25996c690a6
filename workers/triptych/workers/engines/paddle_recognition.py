"""Reads characters out of what PP-OCR's recognition network gives: connectionist temporal classification.

As PaddleX's CTCLabelDecode does it, texts equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triptych.workers.engines.network import Array

Pixels = npt.NDArray[np.uint8]

# -1 to 1, in the order of operations of PaddleX: the last bits count.
_NORMALIZED = ((np.arange(256, dtype=np.float32) / 255 - np.float32(0.5)) / np.float32(0.5)).astype(np.float32)
_BLANK = 0


@dataclass(frozen=True, slots=True)
class Classes:
    """The likeliest class of every column of every crop.

    Attributes:
        indices: Shape (crops, columns).
        probabilities: Shape (crops, columns), of that class.
    """

    indices: npt.NDArray[np.intp]
    probabilities: Array


def recognition_input(crops: Sequence[Pixels], text_widths: Sequence[int]) -> Array:
    """Makes the network's input.

    Args:
        crops: Each of shape (height, width, 3), BGR, all of one size.
        text_widths: Pixels of each that are text; what is right of them becomes 0, which is no grey value.

    Returns:
        Shape (crops, 3, height, width).
    """
    values = _NORMALIZED[np.stack(crops).transpose(0, 3, 1, 2)]
    for row, width in enumerate(text_widths):
        values[row, :, :, width:] = 0
    return values


def likeliest(probabilities: Array) -> Classes:
    """Takes from the network's output, shape (crops, columns, classes), what is needed: it has 18,710 classes."""
    indices = probabilities.argmax(axis=-1)
    return Classes(indices, np.take_along_axis(probabilities, indices[..., np.newaxis], axis=-1)[..., 0])


def decoded(classes: Classes, characters: Sequence[str]) -> list[tuple[str, list[int], float]]:
    """Gives each crop's text, the column of each character, and the mean probability of the characters.

    Args:
        classes: Of every column.
        characters: By class; the first is the blank.
    """
    indices = classes.indices
    kept = indices != _BLANK
    kept[:, 1:] &= indices[:, 1:] != indices[:, :-1]
    read = []
    for row, its_kept, probabilities in zip(indices, kept, classes.probabilities, strict=True):
        columns = np.flatnonzero(its_kept)
        confidence = float(probabilities[columns].mean()) if len(columns) else 0.0
        # A class may be written with several code points; each of them has its column.
        pairs = [(character, int(column)) for column in columns for character in characters[row[column]]]
        read.append(("".join(character for character, _ in pairs), [column for _, column in pairs], confidence))
    return read
