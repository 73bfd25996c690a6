"""Reads the pages of one document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from triptych.core.errors import FieldInvalid
from triptych.core.offered import check_offered
from triptych.v1.ocr_pb2 import OcrConfig, OcrResult, OcrSpec
from triptych.workers import works
from triptych.workers.attempt import Attempt
from triptych.workers.engines.layout import LayoutEngine
from triptych.workers.engines.table import TableEngine
from triptych.workers.media.page_limits import DEFAULT_LIMITS, PageLimits
from triptych.workers.media.pages import open_pages
from triptych.workers.recognition.reading import Reading
from triptych.workers.recognition.selection import selected_pages
from triptych.workers.recognition.structure import structure as structure_of
from triptych.workers.station import Station

DEFAULT_DPI, MIN_DPI, MAX_DPI = 200, 72, 400


class Stations(Protocol):
    """Where a model's station is had."""

    def get(self, name: str = "", /, *, languages: Sequence[str] = ()) -> Station[Any, Any]:
        """Gives the station of a model; empty: the default one for the languages."""


def run(
    attempt: Attempt,
    spec: OcrSpec,
    stations: Stations,
    limits: PageLimits = DEFAULT_LIMITS,
    *,
    layout_model: str = "",
    table_model: str = "",
) -> OcrResult:
    """Reads the pages that the specification asks for.

    A page that fails alone is in the result with its error, as long as any page succeeds. Pages that an earlier
    attempt finished are taken from it, and those that other jobs know or read right now from them; those on which its
    worker died come last, each alone.

    Args:
        attempt: Of the job.
        spec: What to read.
        stations: Where the engine is.
        limits: What reading one document may take.
        layout_model: Name of the model that finds blocks; empty: nobody does.
        table_model: Name of the model that finds the cells of tables; empty: nobody does.

    Raises:
        FeatureDisabled: An option that no engine here offers, or layout without its models.
        FieldInvalid: The model reads no text.
        FieldInvalid, RangeOutsideSource, InputTooLarge: The pages asked for.
        LanguageUnsupported: The model does not know a language of pages that have to be recognized.
        MediaTypeUnsupported, MediaTypeMismatch, MediaCorrupt, MediaEncrypted: The document.
        TriptychError: What stopped the attempt; or, if no page at all could be read, the first page's error.
    """
    check_offered(attempt.spec)
    _check_config(spec.config)
    station = stations.get(spec.config.model, languages=spec.config.language_codes)
    if isinstance(station.engine, LayoutEngine | TableEngine):
        raise FieldInvalid("config.model", f"{station.engine.model.model} reads no text")
    structure = structure_of(attempt, stations.get, layout_model, table_model, spec.config)
    structure_models = structure.models if structure else ()
    with attempt.hand.unit("document"):
        opened = open_pages(attempt.open(spec.input), spec.input, limits, check=attempt.check)
    with opened as document:
        numbers = selected_pages(spec, document.page_count, limits.max_page_count)
        model, dpi = station.engine.model, spec.config.render_dpi if spec.config.HasField("render_dpi") else DEFAULT_DPI
        work = works.reading(spec, model, *structure_models, dpi=dpi, max_page_pixels=limits.max_page_pixels)
        reading = Reading(attempt, station, document, attempt.flight(work), spec.config, dpi, structure)
        return OcrResult(
            model=model,
            source_page_count=document.page_count,
            pages=reading.read(numbers),
            structure_models=structure_models,
        )


def _check_config(config: OcrConfig) -> None:
    if config.HasField("render_dpi") and not MIN_DPI <= config.render_dpi <= MAX_DPI:
        raise FieldInvalid("config.render_dpi", f"must be {MIN_DPI} to {MAX_DPI}")
    if config.HasField("min_confidence") and not 0 <= config.min_confidence <= 1:
        raise FieldInvalid("config.min_confidence", "must be 0 to 1")
