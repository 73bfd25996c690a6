"""What a pipeline's file may say about each stage."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from triptych.core.pipelines.plan import Section
from triptych.core.pipelines.yaml_text import Node, kind_of, pairs, plain

if TYPE_CHECKING:
    from triptych.core.pipelines.plan_file import PlanFile

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_MAX_CHOICES = 64
_MAX_SECTIONS = 8
Option = Callable[["PlanFile", Node], Any]
"""Gives an option's value, or raises ValueError (what is wrong with the node) or PlanInvalid (with something in it)."""


def _flag(file: PlanFile, node: Node) -> bool:
    if not node.tag.endswith(":bool"):
        raise ValueError(f"has to be true or false, not {kind_of(node)}")
    return bool(plain(node, file.shown))


def _whole(least: int, most: int) -> Option:
    def option(file: PlanFile, node: Node) -> int:
        if not node.tag.endswith(":int"):
            raise ValueError(f"has to be a whole number, not {kind_of(node)}")
        value = int(plain(node, file.shown))
        if not least <= value <= most:
            raise ValueError(f"has to be from {least} to {most}, not {value}")
        return value

    return option


def _share(file: PlanFile, node: Node) -> float:
    if not node.tag.endswith((":int", ":float")):
        raise ValueError(f"has to be a number from 0 to 1, not {kind_of(node)}")
    value = float(plain(node, file.shown))
    if not 0 <= value <= 1:
        raise ValueError(f"has to be from 0 to 1, not {value:g}")
    return value


def _prompt(*names: str) -> Option:
    return lambda file, node: file.prompt(node, names)


def _fields(file: PlanFile, node: Node) -> str:
    return file.schema(node)


def _languages(file: PlanFile, node: Node) -> tuple[str, ...]:
    codes = plain(node, file.shown)
    if not isinstance(codes, list) or not 1 <= len(codes) <= 8:
        raise ValueError("has to be a list of 1 to 8 languages, such as [en, pt-BR]")
    for code in codes:
        if not isinstance(code, str) or not _LANGUAGE.fullmatch(code):
            raise ValueError(f"{code!r} is no BCP 47 language tag such as en or pt-BR; put it in quotes")
    return tuple(codes)


def _choices(file: PlanFile, node: Node) -> dict[str, str]:
    choices = {key: plain(value, file.shown) for key, _, value in pairs(node, file.shown)}
    if not 2 <= len(choices) <= _MAX_CHOICES:
        raise ValueError(f"has to have 2 to {_MAX_CHOICES} choices, not {len(choices)}")
    for label, about in choices.items():
        if not label.strip() or label != label.strip():
            raise ValueError(f"the label {label!r} is empty or has blanks around it")
        if not isinstance(about, str):
            raise ValueError(f"{label!r} has to be described by text")  # noqa: TRY004 - caught as a mistake of the file
    return choices


def _sections(file: PlanFile, node: Node) -> dict[str, Section]:
    sections: dict[str, Section] = {}
    for title, _, value in pairs(node, file.shown):
        given = file.known(value, ("prompt", "words")) if value.tag.endswith(":map") else {"prompt": value}
        if "prompt" not in given:
            raise ValueError(f"{title!r} needs a 'prompt'")
        words = plain(given["words"], file.shown) if "words" in given else []
        if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
            raise ValueError(f"'words' of {title!r} has to be a list of words; put them in quotes")
        sections[title] = Section(prompt=file.prompt(given["prompt"], ()), words=tuple(words))
    if not 1 <= len(sections) <= _MAX_SECTIONS:
        raise ValueError(f"has to have 1 to {_MAX_SECTIONS} sections, not {len(sections)}")
    return sections


_SIZES: Mapping[str, Option] = {"prompt_tokens": _whole(200, 100_000), "max_output_tokens": _whole(1, 100_000)}
OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "read": {"layout": _flag, "speakers": _flag, "languages": _languages},
    "retrieve": {},
    "answer": {"prompt": _prompt("question"), **_SIZES},
    "extract": {"prompt": _prompt("question"), "fields": _fields, **_SIZES},
    "summarize": {
        "prompt": _prompt("question", "max_sentences"),
        "combine": _prompt("question", "max_sentences"),
        "max_sentences": _whole(1, 50),
        **_SIZES,
    },
    "classify": {"prompt": _prompt("choices"), "choices": _choices, "prompt_tokens": _SIZES["prompt_tokens"]},
    "minutes": {"sections": _sections, **_SIZES},
    "verify": {"min_confidence": _share, "min_groundedness": _share, "max_evidence_count": _whole(1, 50)},
}
# Those without which a stage means nothing.
NEEDED: Mapping[str, tuple[str, ...]] = {"classify": ("choices",), "minutes": ("sections",)}
# Prompts of the suite, where a plan brings none of its own.
DEFAULT_PROMPTS: Mapping[str, Mapping[str, str]] = {
    "answer": {"prompt": "prompts/answer.txt"},
    "extract": {"prompt": "prompts/answer.txt"},
    "summarize": {"prompt": "prompts/summarize.txt", "combine": "prompts/combine.txt"},
    "classify": {"prompt": "prompts/classify.txt"},
}
