"""Adds a LoRA adapter to a model's weights when it is loaded: from then on it is a model like any other."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from triptych.core.errors import FeatureDisabled, ModelNotFound
from triptych.workers.engines.torch_device import memory_errors

log = logging.getLogger(__name__)

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def merged(network: Any, folder: Path | None) -> Any:
    """Gives the network with an adapter in its weights; without one as it is.

    Merged weights cost nothing at each token, and all that is known of the base holds for them: its rows, its cache.

    Args:
        network: Of transformers, on its device; not to be used any more.
        folder: As peft saves a LoRA adapter; None: there is none.

    Raises:
        ModelNotFound: No adapter, or one of another base; says what does not fit.
        FeatureDisabled: An adapter of a kind that cannot be merged.
        MemoryError: There is no room to merge it.
    """
    if folder is None:
        return network
    config = _config(folder)
    try:
        with memory_errors():
            return _merged(network, folder)
    except (FeatureDisabled, MemoryError):
        raise
    except Exception as error:
        # What peft, torch and safetensors say of names and shapes is of many types.
        raise _unfit(network, folder, config, str(error)) from error


def _config(folder: Path) -> dict[str, Any]:
    for name in (_CONFIG, _WEIGHTS):
        # Asked here: what peft misses it would look for on the hub, and it reads pickles.
        if not (folder / name).is_file():
            raise ModelNotFound(f"{folder} is no LoRA adapter: it has no {name}")
    try:
        config = dict(json.loads((folder / _CONFIG).read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelNotFound(f"{folder / _CONFIG} cannot be read: {error!r}") from error
    if config.get("peft_type") != "LORA":
        raise FeatureDisabled(f"{folder} is no LoRA adapter, but {config.get('peft_type')!r}: it is not supported")
    return config


def _merged(network: Any, folder: Path) -> Any:
    from peft import LoraConfig, PeftModel

    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = True
    adapted = PeftModel(network, config)
    found = adapted.load_adapter(str(folder), adapted.active_adapter, torch_device=str(network.device))
    # Both would be passed over: an adapter of a deeper base, for instance, has more layers than there are here.
    if found.unexpected_keys or found.missing_keys:
        told = [("has", found.unexpected_keys), ("lacks", found.missing_keys)]
        wrong = "; ".join(f"it {verb} {keys[0]} and {len(keys) - 1} more" for verb, keys in told if keys)
        raise ValueError(wrong)
    _check_ends(network, folder)
    log.info("adapter merged", extra={"adapter": str(folder), "made_for": config.base_model_name_or_path})
    return adapted.merge_and_unload(safe_merge=True)


def _check_ends(network: Any, folder: Path) -> None:
    """Refuses changes of embeddings that are the last layer too: both would be changed, where each was meant alone."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    ends = network.get_input_embeddings(), network.get_output_embeddings()
    if any(isinstance(end, BaseTunerLayer) for end in ends) and ends[0].weight is ends[1].weight:
        raise FeatureDisabled(f"{folder} changes the embeddings, which its base shares with the last layer")


def _unfit(network: Any, folder: Path, config: dict[str, Any], why: str) -> ModelNotFound:
    made_for = config.get("base_model_name_or_path") or "a model that it does not name"
    # torch names each of a hundred layers, on a line of its own.
    reason = " ".join(why.split())[:500]
    return ModelNotFound(f"{folder}, made for {made_for}, does not fit {network.name_or_path}: {reason}")
