"""Opens a folder with a Whisper in CTranslate2 format, on the device and in the number format that are wanted."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triptych.core.errors import FeatureDisabled, FieldInvalid, ModelNotFound
from triptych.workers.engines.whisper_process import WhisperProcess
from triptych.workers.engines.whisper_weights import WhisperWeights

# What has to lie in the folder; the converter of an early release wrote the vocabulary as plain lines.
_FILES = ("model.bin", "tokenizer.json", "vocabulary.json or vocabulary.txt")


def open_folder(
    folder: Path, *, device: str, compute_type: str, threads: int
) -> tuple[WhisperWeights | WhisperProcess, Any]:
    """Gives the loaded weights, and their tokenizer (a `tokenizers.Tokenizer`).

    Args:
        folder: As `ct2-transformers-converter --copy_files tokenizer.json` makes it.
        device: "cpu", "cuda" or "auto".
        compute_type: CTranslate2's name of the number format; "auto": int8 on a CPU, float16 on a GPU.
        threads: CPU threads.

    Raises:
        ModelNotFound: A file is missing or cannot be read, or the tokenizer is that of another Whisper.
        FeatureDisabled: CTranslate2 finds no GPU.
        FieldInvalid: The device does not have the number format.
    """
    import ctranslate2
    import tokenizers

    missing = [name for name in _FILES if not any((folder / one).is_file() for one in name.split(" or "))]
    if missing:
        raise ModelNotFound(f"{folder} is no CTranslate2 Whisper: it has no {', no '.join(missing)}")
    cuda = runs_on_cuda(device)
    format_name = _number_format(compute_type, "cuda" if cuda else "cpu")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the package raises nothing more special
        raise ModelNotFound(f"{folder / 'tokenizer.json'} cannot be read: {error}") from error
    _compare(folder, tokenizer)
    weights: WhisperWeights | WhisperProcess
    try:
        if cuda:  # there a batch takes less than a second, and loading takes several
            weights = WhisperWeights(ctranslate2.models.Whisper(str(folder), device="cuda", compute_type=format_name))
        else:
            weights = WhisperProcess(folder, compute_type=format_name, threads=threads)
            weights.load()
    except (RuntimeError, ValueError) as error:
        raise ModelNotFound(f"{folder} cannot be loaded as a Whisper: {error}") from error
    return weights, tokenizer


def runs_on_cuda(device: str) -> bool:
    """Says what "auto" comes to."""
    import ctranslate2

    return device == "cuda" or (device == "auto" and ctranslate2.get_cuda_device_count() > 0)


def free_cuda_memory() -> Callable[[], tuple[int, int]] | None:
    """Gives what tells (free bytes, all bytes) of the GPU; None where torch, which could, is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch.cuda.mem_get_info if torch.cuda.is_available() else None


def _compare(folder: Path, tokenizer: Any) -> None:
    """Makes sure that both number the tokens alike: with the tokenizer of another Whisper all would be nonsense."""
    if (folder / "vocabulary.json").is_file():
        words = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    else:
        words = (folder / "vocabulary.txt").read_text("utf-8").split("\n")
    for token in ("<|startoftranscript|>", "<|notimestamps|>"):
        number = tokenizer.token_to_id(token)
        if number is None or number >= len(words) or words[number] != token:
            raise ModelNotFound(f"{folder}: tokenizer.json and the vocabulary are of two models ({token} differs)")


def _number_format(compute_type: str, device: str) -> str:
    """Gives CTranslate2's name of the format wanted, if the device has it."""
    import ctranslate2

    if device == "cuda" and not ctranslate2.get_cuda_device_count():
        raise FeatureDisabled("device is cuda, but CTranslate2 finds no GPU, or was built without CUDA")
    known = ctranslate2.get_supported_compute_types(device)
    best = "int8" if device == "cpu" else "float16"
    # Some GPUs do not compute in 16 bits.
    wanted = (best if best in known else "float32") if compute_type == "auto" else compute_type
    if wanted not in known:
        raise FieldInvalid("speech_compute_type", f"{device} here has no {wanted}; it has {', '.join(sorted(known))}")
    return wanted
