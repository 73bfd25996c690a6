"""Builds the engine that a catalogue entry names."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from triptych.core.catalog import Catalog, ModelEntry
from triptych.core.errors import FeatureDisabled, FieldInvalid, LanguageUnsupported, ModelNotFound
from triptych.core.settings import Settings
from triptych.workers import metrics
from triptych.workers.batcher import BatchPolicy
from triptych.workers.engines.base import Engine

# Items and results differ by engine; who asks for a model knows its kind, and with it their types.
AnyEngine = Engine[Any, Any]


def threads(settings: Settings) -> int:
    """Gives the CPU threads of one engine: the setting, or all that the process may use."""
    return settings.engine_threads or len(os.sched_getaffinity(0))


def _speech_engine(package: str, settings: Settings) -> str:
    """Names the package and, unless it is left to the engine, the number format: other numbers, another transcript."""
    version = f"{package}/{importlib.metadata.version(package)}"
    compute_type = settings.speech_compute_type
    return version if compute_type == "auto" else f"{version}+{compute_type}"


def _whisper(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.whisper import WhisperEngine

    return WhisperEngine(
        catalog.folder(entry.name),
        catalog.ref(entry.name, _speech_engine("faster-whisper", settings)),
        device=settings.device,
        threads=threads(settings),
        compute_type=settings.speech_compute_type,
    )


def _transformers_speech(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    folder = catalog.folder(entry.name)
    ref = catalog.ref(entry.name, _speech_engine("transformers", settings))
    options: dict[str, Any] = {
        "device": settings.device,
        "threads": threads(settings),
        "compute_type": settings.speech_compute_type,
    }
    if _architecture(folder) == "whisper":
        from triptych.workers.engines.transformers_whisper import TransformersWhisperEngine

        return TransformersWhisperEngine(folder, ref, **options)
    from triptych.workers.engines.transformers_speech import TransformersSpeechEngine

    return TransformersSpeechEngine(folder, ref, languages=entry.languages, **options)


def _architecture(folder: Path) -> str:
    """Gives what transformers calls the kind of network in a folder."""
    try:
        return str(json.loads((folder / "config.json").read_text("utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelNotFound(f"{folder} is no model of transformers: config.json: {error!r}") from error


def _campplus(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    missing = [name for name in ("kaldi_native_fbank", "scipy", "torch") if importlib.util.find_spec(name) is None]
    if missing:
        raise FeatureDisabled(
            f"telling speakers apart needs {', '.join(missing)}: pip install 'triptych[speakers]'",
            metadata={"extra": "speakers"},
        )
    from triptych.workers.engines.campplus import CampPlusEngine

    ref = catalog.ref(entry.name, f"torch/{importlib.metadata.version('torch')}")
    return CampPlusEngine(catalog.folder(entry.name), ref, device=settings.device, threads=threads(settings))


def _paddle_ocr(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.ocr_runtime import OcrRuntime
    from triptych.workers.engines.paddle_ocr import PaddleOcrEngine

    runtime = OcrRuntime.chosen(
        settings.ocr_runtime,
        device=settings.device,
        threads=threads(settings),
        compute_type=settings.ocr_compute_type,
    )
    return PaddleOcrEngine(
        catalog.folder(entry.name),
        catalog.ref(entry.name, runtime.version),
        runtime,
        check_languages=lambda tags: _check_languages(entry, catalog, tags),
    )


def _check_languages(entry: ModelEntry, catalog: Catalog, tags: Sequence[str]) -> None:
    """Refuses languages that a model does not know.

    Raises:
        LanguageUnsupported: Names them, and the models that know them.
    """
    if unknown := entry.unknown(tags):
        others = [name for name in catalog.knowing(entry.kind, tags) if name != entry.name]
        hint = f"these do: {', '.join(others)}" if others else "no model of the catalogue does"
        raise LanguageUnsupported(
            f"{entry.name} does not know {', '.join(unknown)}; {hint}",
            metadata={"model": entry.name, "languages": ",".join(unknown), "models": ",".join(others)},
        )


def _picodet(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.picodet import PicoDetEngine

    ref = catalog.ref(entry.name, f"onnxruntime/{importlib.metadata.version('onnxruntime')}")
    return PicoDetEngine(catalog.folder(entry.name), ref, device=settings.device, threads=threads(settings))


def _slanet(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.slanet import SlanetEngine

    ref = catalog.ref(entry.name, f"onnxruntime/{importlib.metadata.version('onnxruntime')}")
    return SlanetEngine(catalog.folder(entry.name), ref, device=settings.device, threads=threads(settings))


def _adapted(entry: ModelEntry, catalog: Catalog) -> tuple[Path, Path | None]:
    """Gives the folder of the weights to begin with, and that of the LoRA adapter to them if the entry is one."""
    folder = catalog.folder(entry.name)
    if not entry.base:
        if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
            raise ModelNotFound(f"{folder} is a LoRA adapter: the entry of {entry.name} has to name its base in `uses`")
        return folder, None
    if importlib.util.find_spec("peft") is None:
        raise FeatureDisabled(
            f"{entry.name} is a LoRA adapter, which needs peft: pip install 'triptych[lora]'",
            metadata={"extra": "lora"},
        )
    return catalog.folder(entry.base), folder


def _transformers(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.transformers import TransformersEngine

    ref = catalog.ref(entry.name, f"transformers/{importlib.metadata.version('transformers')}")
    folder, adapter = _adapted(entry, catalog)
    return TransformersEngine(
        folder,
        ref,
        adapter=adapter,
        device=settings.device,
        threads=threads(settings),
        piece_tokens=settings.prompt_piece_tokens,
        encoder_cache_bytes=settings.encoder_cache_bytes,
        on_look=partial(metrics.count_encoder_look, entry.name),
    )


def _text(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.reader import ReaderEngine

    ref = catalog.ref(entry.name, f"transformers/{importlib.metadata.version('transformers')}")
    folder, adapter = _adapted(entry, catalog)
    return ReaderEngine(
        folder,
        ref,
        None,
        adapter=adapter,
        device=settings.device,
        threads=threads(settings),
        piece_tokens=settings.prompt_piece_tokens,
    )


def _reader(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.reader import ReaderEngine

    ocr_name, language_model = entry.uses
    ocr = build(ocr_name, catalog, settings)
    engines = f"{ocr.model.engine}+transformers/{importlib.metadata.version('transformers')}"
    folder, adapter = _adapted(catalog.get(language_model), catalog)
    return ReaderEngine(
        folder,
        catalog.ref(entry.name, f"reader({engines})"),
        ocr,
        adapter=adapter,
        device=settings.device,
        threads=threads(settings),
        piece_tokens=settings.prompt_piece_tokens,
    )


_BUILDERS: dict[str, Callable[[ModelEntry, Catalog, Settings], AnyEngine]] = {
    "whisper": _whisper,
    "campplus": _campplus,
    "transformers_speech": _transformers_speech,
    "paddle_ocr": _paddle_ocr,
    "picodet": _picodet,
    "slanet": _slanet,
    "transformers": _transformers,
    "text": _text,
    "reader": _reader,
}


def build(name: str, catalog: Catalog, settings: Settings) -> AnyEngine:
    """Makes the engine of a model; nothing is loaded yet.

    Raises:
        ModelNotFound: No such model.
        FieldInvalid: The catalogue names an engine that does not exist.
    """
    entry = catalog.get(name)
    if entry.engine not in _BUILDERS:
        raise FieldInvalid(f"models.{name}.engine", f"{entry.engine!r} is none of {', '.join(_BUILDERS)}")
    return _BUILDERS[entry.engine](entry, catalog, settings)


def policy(name: str, catalog: Catalog, settings: Settings) -> BatchPolicy:
    """Gives the bounds of a model's batches, in its engine's unit of cost."""
    audio_s = settings.max_batch_audio_s
    max_cost = {
        "whisper": audio_s,
        "transformers_speech": audio_s,
        "campplus": audio_s,
        "paddle_ocr": settings.max_batch_pixels,
        "picodet": settings.max_batch_pixels,
        "slanet": settings.max_batch_pixels,
    }
    return BatchPolicy(
        max_cost=max_cost.get(catalog.get(name).engine, settings.max_batch_tokens),
        max_items=settings.max_batch_items,
        max_wait_ms=settings.max_wait_ms,
    )
