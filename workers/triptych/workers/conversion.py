"""Turns downloaded weights into the form that loads fastest."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.core.errors import FeatureDisabled, InternalError, ModelNotFound
from triptych.workers import paddle_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to convert, and what has to be installed for it."""

    run: Callable[[Path, Path], None]
    """Makes the second folder, which exists and is empty, out of the files in the first."""
    extra: str
    """The extra of this package that brings the modules."""
    modules: tuple[str, ...]


def require(recipe: str) -> None:
    """Makes sure that a conversion could run here; imports nothing. Ask before downloading.

    Raises:
        FeatureDisabled: Nobody knows the recipe, or modules are missing; the message says which extra brings them.
    """
    known = RECIPES.get(recipe)
    if known is None:
        raise FeatureDisabled(f"no conversion is called {recipe!r}; known are {', '.join(RECIPES)}")
    missing = [module for module in known.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise FeatureDisabled(
            f"the conversion {recipe} needs {', '.join(missing)}: pip install 'triptych[{known.extra}]'",
            metadata={"extra": known.extra},
        )


def convert(recipe: str, source: Path, target: Path) -> None:
    """Runs a conversion in a process of its own, which gives its memory back and can be killed.

    Args:
        recipe: Name in `RECIPES`.
        source: Folder of the downloaded files; it stays as it is.
        target: Folder to make.

    Raises:
        FeatureDisabled: As `require` does.
        InternalError: The conversion failed; the message has its last line.
    """
    require(recipe)
    target.mkdir(parents=True)
    # The child has to find what we found, however this process got its path.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "triptych.workers.conversion", recipe, str(source), str(target)]
    done = subprocess.run(  # noqa: S603 - our own arguments
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        how = f"signal {-done.returncode}, perhaps for want of memory" if done.returncode < 0 else last
        raise InternalError(f"the conversion {recipe} of {source.parent.name} failed: {how}")


def gguf_to_bf16(source: Path, target: Path) -> None:
    """Unpacks a GGUF file into a transformers folder with bf16 safetensors and the tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    file = _only(source, "*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file.name)
    model: Any = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=file.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    # The weights are plain now; these two would make transformers save them as quantized.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise ModelNotFound(f"one file {pattern} has to be among the downloads, not {len(found)}")
    return found[0]


RECIPES = {
    "gguf-bf16": Recipe(
        run=gguf_to_bf16, extra="vision", modules=("torch", "transformers", "gguf", "accelerate", "safetensors")
    ),
    "paddle-onnx": Recipe(run=paddle_folder.lay_out, extra="ocr", modules=("onnxruntime", "yaml")),
}


def main() -> None:
    """Runs one conversion: `python -m triptych.workers.conversion RECIPE SOURCE TARGET`."""
    recipe, source, target = sys.argv[1:]
    RECIPES[recipe].run(Path(source), Path(target))


if __name__ == "__main__":
    main()
