"""Checks of single fields, each with the path that the error names."""

from __future__ import annotations

import re

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from triptych.core.errors import FieldInvalid

_UUID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_JOB = re.compile(rf"jobs/{_UUID}\Z")
_DELIVERY = re.compile(rf"deliveries/{_UUID}\Z")
_BLOB = re.compile(r"blobs/sha256-[0-9a-f]{64}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
# The shape of BCP 47 tags; which languages there are is the model's business.
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z")


def need(holds: bool, field: str, message: str) -> None:
    """Asks for a condition.

    Raises:
        FieldInvalid: It does not hold.
    """
    if not holds:
        raise FieldInvalid(field, message)


def known_enums(message: Message, path: str) -> None:
    """Refuses numbers that no enum value has, anywhere in the message.

    Raises:
        FieldInvalid: There is one.
    """
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        values = list(value) if field.is_repeated and not _is_map(field) else [value]
        for index, item in enumerate(values):
            place = f"{name}[{index}]" if field.is_repeated else name
            if field.enum_type is not None:
                need(item in field.enum_type.values_by_number, place, f"{item} is no {field.enum_type.name}")
            elif field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field):
                known_enums(item, place)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def in_range(message: Message, name: str, low: float, high: float, path: str) -> None:
    """Asks that an optional number, if it is there, is from low to high (a NaN never is).

    Raises:
        FieldInvalid: It is not.
    """
    if message.HasField(name):
        value = getattr(message, name)
        need(low <= value <= high, f"{path}.{name}", f"must be from {low:g} to {high:g}, not {value:g}")


def short(text: str, most: int, field: str) -> None:
    """Asks for at most so many code points.

    Raises:
        FieldInvalid: There are more.
    """
    need(len(text) <= most, field, f"has {len(text)} code points; at most {most} are allowed")


def few(count: int, least: int, most: int, field: str) -> None:
    """Asks for so many items.

    Raises:
        FieldInvalid: There are fewer or more.
    """
    need(least <= count <= most, field, f"has {count} items; {least} to {most} are allowed")


def seconds(duration: Duration) -> float:
    """Gives a duration as a number."""
    return duration.seconds + duration.nanos / 1e9


def duration(message: Message, name: str, least_s: float, most_s: float, path: str) -> float | None:
    """Gives an optional duration in seconds, checked; None if it is not there.

    Raises:
        FieldInvalid: It is shorter or longer.
    """
    if not message.HasField(name):
        return None
    value = seconds(getattr(message, name))
    field = f"{path}.{name}" if path else name
    need(least_s <= value <= most_s, field, f"must be from {least_s:g} s to {most_s:g} s, not {value:g} s")
    return value


def job_id(name: str, field: str = "name") -> str:
    """Gives the id in "jobs/<id>".

    Raises:
        FieldInvalid: It is no name of a job.
    """
    match = _JOB.match(name)
    if not match:
        raise FieldInvalid(field, f"{name[:100]!r} is not of the form jobs/<UUID>")
    return match.group(1)


def delivery_id(name: str) -> str:
    """Gives the id in "deliveries/<id>".

    Raises:
        FieldInvalid: It is no name of a delivery.
    """
    match = _DELIVERY.match(name)
    if not match:
        raise FieldInvalid("name", f"{name[:100]!r} is not of the form deliveries/<UUID>")
    return match.group(1)


def blob_name(name: str, field: str = "name") -> str:
    """Gives a blob's name back.

    Raises:
        FieldInvalid: It is none.
    """
    need(bool(_BLOB.match(name)), field, f"{name[:100]!r} is not of the form blobs/sha256-<64 lower-case hex digits>")
    return name


def sha256(digest: str, field: str) -> str:
    """Gives a digest back.

    Raises:
        FieldInvalid: It is none.
    """
    need(bool(_SHA256.match(digest)), field, "must be 64 lower-case hex digits")
    return digest


def caller_id(value: str, field: str) -> str:
    """Gives an id that the caller chose back.

    Raises:
        FieldInvalid: It has other characters than a UUID.
    """
    need(bool(_ID.match(value)), field, "must be 1 to 64 letters, digits or hyphens; a UUID is best")
    return value


def language(code: str, field: str) -> None:
    """Asks for a BCP 47 tag.

    Raises:
        FieldInvalid: It is none.
    """
    need(bool(_LANGUAGE.match(code)), field, f"{code[:40]!r} is no BCP 47 language tag such as 'en' or 'pt-BR'")
