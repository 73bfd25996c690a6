"""Formats that a result can be written in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, ParamSpec

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

ResultP = ParamSpec("ResultP")
UTF8 = "charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat(Generic[ResultP]):
    """One way to write it.

    Attributes:
        suffix: Of files.
        write: Gives the content, with a line feed at line ends.
    """

    media_type: str
    suffix: str
    write: Callable[ResultP, str]


def as_json(message: Message) -> str:
    """Writes a message in protobuf's JSON mapping, with the contract's field names."""
    told = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"
