"""Options that say how speech is transcribed, and how subtitles are cut."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from triptych.cli import options

if TYPE_CHECKING:
    from triptych.v1.common_pb2 import TimeRange
    from triptych.v1.transcription_pb2 import SpeakerConfig

_MOMENT = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)\Z")
ANY = "any"


def speech_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what says how to transcribe: the command's argument `config`."""

    @functools.wraps(command)
    def with_config(
        *args: Any, model: str, language: str, words: bool, translate: bool, prompt: str, hotwords: tuple[str, ...],
        clips: tuple[str, ...], stream: int | None, channels: str, short_windows: bool, speakers: str, **others: Any,
    ) -> None:  # fmt: skip
        from triptych.v1.transcription_pb2 import ChannelMode, TranscriptionConfig, TranscriptionTask, WindowMode

        config = TranscriptionConfig(
            model=model,
            language_code=language,
            enable_word_timestamps=words,
            initial_prompt=prompt,
            hotwords=hotwords,
            clips=time_ranges(clips),
            audio_stream=stream,
            speakers=_speaker_config(speakers) if speakers else None,
        )
        if translate:
            config.task = TranscriptionTask.TRANSCRIPTION_TASK_TRANSLATE
        if channels == "separate":
            config.channel_mode = ChannelMode.CHANNEL_MODE_SEPARATE
        if short_windows:
            config.window_mode = WindowMode.WINDOW_MODE_SHORT
        command(*args, config=config, **others)

    for option in (
        click.option(
            "--speakers", is_flag=False, flag_value=ANY, default="", metavar="[MIN-MAX]",
            help="Tell speakers apart; --speakers=2 or --speakers=2-4 if it is known how many.",
        ),
        click.option("--short-windows", is_flag=True, help="Read short clips for less; now and then a word differs."),
        click.option(
            "--channels", type=click.Choice(("mix", "separate")), default="mix", show_default=True,
            help="Hear the channels as one, or each by itself.",
        ),
        click.option(
            "--stream", type=click.IntRange(min=0), metavar="N", help="Audio stream, from 0; default: the first."
        ),
        click.option(
            "--clip", "clips", multiple=True, metavar="FROM-TO",
            help="Only this part, in seconds or h:mm:ss, such as 10-20.5 or 1:30-; may be repeated.",
        ),
        click.option("--hotword", "hotwords", multiple=True, metavar="WORD", help="Favour this word; may be repeated."),
        click.option("--prompt", default="", metavar="TEXT", help="What comes before: names, spelling, style."),
        click.option("--translate", is_flag=True, help="Translate into English."),
        options.words_option,
        options.language_option,
        options.model_option,
    ):  # fmt: skip
        with_config = option(with_config)
    return with_config


def cue_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what says how subtitles are cut: the command's argument `rules`."""

    @functools.wraps(command)
    def with_rules(
        *args: Any, line_length: int, line_count: int, longest_s: float, shortest_s: float, **others: Any
    ) -> None:
        from triptych.v1.transcription_service_pb2 import CueRules

        rules = CueRules(
            max_line_length=line_length,
            max_line_count=line_count,
            max_duration_ms=round(longest_s * 1000),
            min_duration_ms=round(shortest_s * 1000),
        )
        command(*args, rules=rules, **others)

    for option in (
        click.option(
            "--shortest", "shortest_s", type=click.FloatRange(0, 5), default=1, show_default=True, metavar="S",
            help="Shortest subtitle in seconds, where the next one leaves room.",
        ),
        click.option(
            "--longest", "longest_s", type=click.FloatRange(1, 30), default=7, show_default=True, metavar="S",
            help="Longest subtitle in seconds.",
        ),
        click.option(
            "--lines", "line_count", type=click.IntRange(1, 5), default=2, show_default=True, metavar="N",
            help="Lines of a subtitle.",
        ),
        click.option(
            "--line-length", type=click.IntRange(10, 200), default=42, show_default=True, metavar="N",
            help="Characters of a line; wide ones count twice.",
        ),
    ):  # fmt: skip
        with_rules = option(with_rules)
    return with_rules


def time_ranges(texts: Sequence[str]) -> list[TimeRange]:
    """Reads "10-20.5", "1:30-2:00", "90-" as parts of a recording.

    Raises:
        click.BadParameter: It does not look like that.
    """
    from triptych.v1.common_pb2 import TimeRange

    ranges = []
    for text in texts:
        first, dash, last = text.replace(" ", "").partition("-")
        start, end = _MOMENT.match(first), _MOMENT.match(last)
        if not start or not dash or (last and not end):
            raise click.BadParameter(f"{text!r} is no part such as 10-20.5, 1:30-2:00 or 90-", param_hint="--clip")
        start_ms, end_ms = _ms(start), _ms(end) if end else 0
        if end and end_ms <= start_ms:
            raise click.BadParameter(f"{text!r} runs backwards", param_hint="--clip")
        ranges.append(TimeRange(start_ms=start_ms, end_ms=end_ms))
    return ranges


def _ms(moment: re.Match[str]) -> int:
    hours, minutes, seconds = moment.groups()
    ms = round((int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)) * 1000)
    if ms >= 2**31:
        raise click.BadParameter(f"{moment.group()!r} is later than any recording lasts", param_hint="--clip")
    return ms


def _speaker_config(text: str) -> SpeakerConfig:
    from triptych.v1.transcription_pb2 import SpeakerConfig

    if text == ANY:
        return SpeakerConfig()
    least, dash, most = text.partition("-")
    counts = [least, most if dash else least]
    if not all(count.isdecimal() and 1 <= int(count) <= 32 for count in counts) or int(counts[0]) > int(counts[1]):
        raise click.BadParameter(
            f"{text!r} is no number of speakers such as 2 or 2-4 (up to 32); what comes behind --speakers is taken for "
            "one",
            param_hint="--speakers",
        )
    return SpeakerConfig(min_speaker_count=int(counts[0]), max_speaker_count=int(counts[1]))
