"""Lays out PP-OCR models in ONNX format as PaddleX reads them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from triptych.core.errors import ModelNotFound

# Pre- and post-processing as PaddleX's own folders of these models have it.
_DETECTION: dict[str, Any] = {
    "PreProcess": {
        "transform_ops": [
            {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
            {"DetLabelEncode": None},
            {"DetResizeForTest": {"resize_long": 960}},
            {
                "NormalizeImage": {
                    "mean": [0.485, 0.456, 0.406],
                    "order": "hwc",
                    "scale": "1./255.",
                    "std": [0.229, 0.224, 0.225],
                }
            },
            {"ToCHWImage": None},
            {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
        ]
    },
    "PostProcess": {
        "name": "DBPostProcess",
        "thresh": 0.3,
        "box_thresh": 0.6,
        "max_candidates": 1000,
        "unclip_ratio": 1.5,
    },
}
_RECOGNITION: dict[str, Any] = {
    "PreProcess": {
        "transform_ops": [
            {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
            {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}},
            {"RecResizeImg": {"image_shape": [3, 48, 320]}},
            {"KeepKeys": {"keep_keys": ["image", "label_ctc", "label_gtc", "length", "valid_ratio"]}},
        ]
    },
    "PostProcess": {"name": "CTCLabelDecode"},
}
_PAGE_ORIENTATION: dict[str, Any] = {
    "PreProcess": {
        "transform_ops": [
            {"ResizeImage": {"resize_short": 256}},
            {"CropImage": {"size": 224}},
            {
                "NormalizeImage": {
                    "channel_num": 3,
                    "mean": [0.485, 0.456, 0.406],
                    "order": "",
                    "scale": 1 / 255,
                    "std": [0.229, 0.224, 0.225],
                }
            },
            {"ToCHWImage": None},
        ]
    },
    "PostProcess": {"Topk": {"topk": 1, "label_list": ["0", "90", "180", "270"]}},
}


def lay_out(source: Path, target: Path) -> None:
    """Makes `det/`, `rec/` and, if there is such a model, `doc_ori/`, each with inference.onnx and inference.yml.

    Args:
        source: Has `<PaddleX model name>.onnx` files that end in `_det`, `_rec` and `_doc_ori`. The recognizer's
            characters stand in its metadata, or one a line in the only `*.txt`.
        target: Folder to make them in.

    Raises:
        ModelNotFound: A file is missing, or there are several of a role.
    """
    for role, stages in (("det", _DETECTION), ("rec", _RECOGNITION), ("doc_ori", _PAGE_ORIENTATION)):
        if role == "doc_ori" and not list(source.glob(f"*_{role}.onnx")):
            continue
        model = _only(source, f"*_{role}.onnx")
        if role == "rec":
            stages["PostProcess"]["character_dict"] = _characters(model)
        _write(target / role, model, stages)


def _write(folder: Path, model: Path, stages: dict[str, Any]) -> None:
    import yaml  # type: ignore[import-untyped] # its stubs are a package of their own, for this one call

    folder.mkdir()
    shutil.copyfile(model, folder / "inference.onnx")
    with (folder / "inference.yml").open("w", encoding="utf-8") as file:
        yaml.safe_dump({"Global": {"model_name": model.stem}, **stages}, file, allow_unicode=True)


def _characters(model: Path) -> list[str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map.get("character")
    characters = (known or _only(model.parent, "*.txt").read_text("utf-8").removesuffix("\n")).split("\n")
    # Some lists name the blank and the space as well, which PaddleX adds itself.
    if characters[0] == "blank":
        characters = characters[1 : -1 if characters[-1] == " " else None]
    classes = session.get_outputs()[0].shape[-1]
    if isinstance(classes, int) and classes != len(characters) + 2:
        raise ModelNotFound(f"{model.name} knows {classes - 2} characters, of which {len(characters)} are named")
    return characters


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise ModelNotFound(f"one file {pattern} has to be among the downloads, not {len(found)}")
    return found[0]
