"""Word error rate of transcriptions, and words invented where nobody speaks."""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from accuracy_run.manifest import Item, items
from accuracy_run.service import service
from accuracy_run.words import Comparison, compare, word_count

from triptych.client import Client
from triptych.core.errors import TriptychError
from triptych.v1.job_pb2 import CachePolicy, JobOptions
from triptych.v1.transcription_pb2 import TranscriptionConfig, VadMode, WindowMode

MODALITY = "speech"
# What is measured is what the engine hears, not what somebody heard before.
ANEW = JobOptions(cache_policy=CachePolicy.CACHE_POLICY_BYPASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of one clip.

    Attributes:
        language: As the manifest says; English if it says nothing.
        text: Transcript; empty if the job failed.
        failure: Why it failed, or empty.
        comparison: With what was said; None: nobody speaks in it.
        invented: Words that were heard although nobody speaks.
    """

    id: str
    language: str
    text: str
    failure: str = ""
    comparison: Comparison | None = None
    invented: int = 0

    def line(self) -> str:
        """Gives it in one line."""
        score = f"invented {self.invented}"
        if found := self.comparison:
            unit = "characters" if found.by_character else "words"
            score = f"{found.errors} of {found.length} {unit}, {found.rate:.3f}"
        return f"{self.id}  {self.language}  {score}  {self.failure or self.text}"


def judged(item: Item, text: str, failure: str = "") -> Heard:
    """Compares a transcript with what the manifest says."""
    said, language = item.truth.get("text") or "", item.language or "en"
    if not said:
        return Heard(id=item.id, language="-", text=text, failure=failure, invented=word_count(text))
    found = compare([said, *item.alternatives], text, language)
    return Heard(id=item.id, language=language, text=text, failure=failure, comparison=found)


def verdict(found: Sequence[Heard]) -> tuple[float, float, int]:
    """Gives the word error rate over all words, that of English, and the words invented."""
    english = [one for one in found if one.language == "en"]
    return _rate(found), _rate(english), sum(one.invented for one in found)


def last_line(found: Sequence[Heard]) -> str:
    """Gives the figures as programs read them."""
    everything, english, invented = verdict(found)
    return f"WER {everything:.3f} English {english:.3f} invented {invented}"


def table(found: Sequence[Heard]) -> str:
    """Gives the figures by language."""
    groups: dict[str, list[Heard]] = defaultdict(list)
    for one in found:
        if one.comparison:
            groups[one.language].append(one)
    rows = ["| language | clips | said | errors | rate | mean of clips |", "|---|---|---|---|---|---|"]
    for language, group in sorted(groups.items()):
        comparisons = [one.comparison for one in group if one.comparison]
        errors, length = (sum(getattr(one, name) for one in comparisons) for name in ("errors", "length"))
        unit = "characters" if comparisons[0].by_character else "words"
        mean = sum(one.rate for one in comparisons) / len(comparisons)
        rows.append(
            f"| {language} | {len(group)} | {length} {unit} | {errors} | {errors / max(1, length):.3f} | {mean:.3f} |"
        )
    silent = [one for one in found if not one.comparison]
    rows.append(f"| nobody speaks | {len(silent)} | | {sum(one.invented for one in silent)} | | |")
    return "\n".join(rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what only this kind has."""
    parser.add_argument("--detect", action="store_true", help="have the language detected, whatever the manifest says")
    parser.add_argument("--short-windows", action="store_true", help="WINDOW_MODE_SHORT")
    parser.add_argument("--no-vad", action="store_true", help="VAD_MODE_OFF")
    parser.add_argument("--max-wer", type=float, help="exit with 1 if it is higher (rounded to a thousandth)")
    parser.add_argument("--max-english", type=float, help="exit with 1 if the English one is higher")
    parser.add_argument("--max-invented", type=int, help="exit with 1 if there are more")


def run(given: argparse.Namespace) -> int:
    """Measures, and prints what was found; gives the exit code."""
    wanted = [item for item in items(given.manifest, MODALITY) if item.id.startswith(given.only)]
    with service(given.target, given.api_key, "transcription") as client, ThreadPoolExecutor(given.callers) as pool:
        found = list(pool.map(lambda item: _hear(client, item, given), wanted))
    if given.predictions:
        told = {one.id: one.text for one in found}
        given.predictions.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if given.per_item:
        for one in found:
            print(one.line())
    print(table(found))
    for one in found:
        if one.failure:
            print(f"{one.id} failed: {one.failure}")
    print(last_line(found))
    failed = any(one.failure for one in found)
    return int(failed or _broken(verdict(found), (given.max_wer, given.max_english, given.max_invented)))


def _hear(client: Client, item: Item, given: argparse.Namespace) -> Heard:
    config = TranscriptionConfig(
        model=given.model,
        language_code="" if given.detect else item.language,
        vad_mode=VadMode.VAD_MODE_OFF if given.no_vad else VadMode.VAD_MODE_UNSPECIFIED,
        window_mode=WindowMode.WINDOW_MODE_SHORT if given.short_windows else WindowMode.WINDOW_MODE_UNSPECIFIED,
    )
    try:
        return judged(item, client.transcribe(Path(item.path), config, options=ANEW).text)
    except TriptychError as error:
        return judged(item, "", f"{error.reason}: {error.message}")


def _rate(found: Iterable[Heard]) -> float:
    """Gives errors per word; clips that are compared by characters have no words. NaN if there are none."""
    comparisons = [one.comparison for one in found if one.comparison and not one.comparison.by_character]
    length = sum(one.length for one in comparisons)
    return sum(one.errors for one in comparisons) / length if length else float("nan")


def _broken(figures: Iterable[float], bounds: Iterable[float | None]) -> bool:
    """Whether a figure, as it is printed, is over its bound."""
    return any(bound is not None and round(value, 3) > bound for value, bound in zip(figures, bounds, strict=True))
