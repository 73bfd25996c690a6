"""What a folder says about a model of PP-OCR, in PaddleX's own format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.errors import ModelNotFound
from triptych.workers.engines.network import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddleModel:
    """One network's folder.

    Attributes:
        folder: Has inference.yml, and inference.onnx or inference.json and inference.pdiparams.
        name: By which PaddleX knows the model.
        normalization: Shape (3, 256): what each value of each channel becomes; of detection models.
        characters: By class; of recognition models.
        image_height: Of recognition models, pixels.
    """

    folder: Path
    name: str
    normalization: Array
    characters: tuple[str, ...]
    image_height: int

    @classmethod
    def read(cls, folder: Path) -> PaddleModel:
        """Reads inference.yml.

        Raises:
            ModelNotFound: It is not there, or not of such a model; says what is wrong.
        """
        import yaml  # type: ignore[import-untyped] # its stubs are a package of their own, for this one call

        try:
            # The fast parser, as safe as the other: tens of thousands of characters take seconds otherwise.
            parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            told = yaml.load((folder / "inference.yml").read_bytes(), parser)  # noqa: S506
            steps: dict[str, Any] = {}
            for step in told["PreProcess"]["transform_ops"]:
                steps |= step
            characters = told["PostProcess"].get("character_dict") or ()
            return cls(
                folder=folder,
                name=told["Global"]["model_name"],
                normalization=_normalization(**steps.get("NormalizeImage") or {}),
                # PaddleX adds the blank in front and the space behind.
                characters=("", *map(str, characters), " ") if characters else (),
                image_height=int((steps.get("RecResizeImg") or {}).get("image_shape", (3, 48, 320))[1]),
            )
        except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise ModelNotFound(f"{folder}/inference.yml does not describe a model of PP-OCR: {error!r}") from error


def _normalization(
    mean: tuple[float, ...] = (0.485, 0.456, 0.406),
    std: tuple[float, ...] = (0.229, 0.224, 0.225),
    scale: str | float = 1 / 255,
    **_other: Any,
) -> Array:
    # The factor is written as a fraction with a full stop behind each number: "1./255."
    numerator, _, denominator = str(scale).partition("/")
    factor = float(numerator) / float(denominator or 1)
    values = np.arange(256, dtype=np.float32)
    return np.stack(
        [
            values * np.float32(factor / deviation) + np.float32(-average / deviation)
            for average, deviation in zip(mean, std, strict=True)
        ]
    )
