"""Builds the engine that a catalogue entry names."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from typing import Any

from triptych.core.catalog import Catalog, ModelEntry
from triptych.core.errors import FieldInvalid
from triptych.core.settings import Settings
from triptych.workers.batcher import BatchPolicy
from triptych.workers.engines.base import Engine

# Items and results differ by engine; who asks for a model knows its kind, and with it their types.
AnyEngine = Engine[Any, Any]


def threads(settings: Settings) -> int:
    """Gives the CPU threads of one engine: the setting, or all that the process may use."""
    return settings.engine_threads or len(os.sched_getaffinity(0))


def _whisper(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.whisper import WhisperEngine

    ref = catalog.ref(entry.name, f"faster-whisper/{importlib.metadata.version('faster-whisper')}")
    return WhisperEngine(catalog.folder(entry.name), ref, device=settings.device, threads=threads(settings))


def _paddle_ocr(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.paddle_ocr import PaddleOcrEngine

    ref = catalog.ref(entry.name, f"paddleocr/{importlib.metadata.version('paddleocr')}")
    return PaddleOcrEngine(catalog.folder(entry.name), ref, device=settings.device, threads=threads(settings))


def _transformers(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.transformers import TransformersEngine

    ref = catalog.ref(entry.name, f"transformers/{importlib.metadata.version('transformers')}")
    return TransformersEngine(catalog.folder(entry.name), ref, device=settings.device, threads=threads(settings))


def _text(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.reader import ReaderEngine

    ref = catalog.ref(entry.name, f"transformers/{importlib.metadata.version('transformers')}")
    return ReaderEngine(catalog.folder(entry.name), ref, None, device=settings.device, threads=threads(settings))


def _reader(entry: ModelEntry, catalog: Catalog, settings: Settings) -> AnyEngine:
    from triptych.workers.engines.reader import ReaderEngine

    engines = "+".join(f"{name}/{importlib.metadata.version(name)}" for name in ("paddleocr", "transformers"))
    ocr_name, language_model = entry.uses
    return ReaderEngine(
        catalog.folder(language_model),
        catalog.ref(entry.name, f"reader({engines})"),
        build(ocr_name, catalog, settings),
        device=settings.device,
        threads=threads(settings),
    )


_BUILDERS: dict[str, Callable[[ModelEntry, Catalog, Settings], AnyEngine]] = {
    "whisper": _whisper,
    "paddle_ocr": _paddle_ocr,
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
    max_cost = {"whisper": settings.max_batch_audio_s, "paddle_ocr": settings.max_batch_pixels}
    return BatchPolicy(
        max_cost=max_cost.get(catalog.get(name).engine, settings.max_batch_tokens),
        max_items=settings.max_batch_items,
        max_wait_ms=settings.max_wait_ms,
    )
