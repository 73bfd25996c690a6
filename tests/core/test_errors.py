"""Errors keep their class, their reason and their facts over the wire."""

import pytest
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status

from triptych.core import errors
from triptych.v1.error_reason_pb2 import ErrorReason


def all_classes(cls=errors.TriptychError):
    return [found for child in cls.__subclasses__() for found in (child, *all_classes(child))]


CONCRETE = [cls for cls in all_classes() if cls.__module__ == "triptych.core.errors"]


def test_every_reason_of_the_contract_has_a_class():
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert reasons <= {cls.reason for cls in CONCRETE}


@pytest.mark.parametrize("cls", [errors.QueueFull, errors.MediaCorrupt, errors.JobNotFound, errors.WorkerLost])
def test_an_error_comes_back_as_the_class_it_was(cls):
    back = errors.from_status(cls("why", metadata={"a": "b"}, retry_after_s=1.5).to_status())
    assert type(back) is cls
    assert (back.message, back.metadata, back.retry_after_s) == ("why", {"a": "b"}, 1.5)


def test_a_wrong_field_is_named_in_bad_request():
    status = errors.FieldInvalid("spec.pages[0]", "is no range").to_status()
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert bad.field_violations[0].field == "spec.pages[0]"


def test_a_status_stays_small_whatever_is_put_in():
    error = errors.MediaCorrupt("x" * 50_000, metadata={str(n): "y" * 5_000 for n in range(50)})
    assert error.to_status().ByteSize() < 6000


def test_an_unknown_reason_falls_back_to_its_code():
    assert type(errors.from_status(Status(code=code_pb2.UNAVAILABLE, message="m"))) is errors.Unavailable
    assert type(errors.from_status(Status(code=code_pb2.DATA_LOSS))) is errors.InternalError


def test_the_text_of_a_bug_stays_inside():
    assert "secret" not in errors.status_of(ValueError("secret")).message


def test_figures_of_a_limit_are_exact_and_a_setting_is_named():
    error = errors.InputTooLarge("too much", limit=734_003_200, value=734_003_201.5, setting="TRIPTYCH_MAX_X")
    assert (error.metadata["limit"], error.metadata["value"]) == ("734003200", "734003201.5")
    assert "TRIPTYCH_MAX_X" in error.metadata["hint"]
