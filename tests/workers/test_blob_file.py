"""An input is a file whose bytes are read when they are wanted."""

import io
import os

import pytest
from workers.test_attempt import new_attempt

from triptych.core.blob_choice import open_blobs
from triptych.core.broker import Broker
from triptych.core.errors import BlobNotFound, FieldInvalid
from triptych.core.store import Store
from triptych.v1.common_pb2 import InputSource
from triptych.workers.execution import Execution

DATA = bytes(range(256)) * 40


@pytest.fixture(params=["directory", "redis"])
def execution(settings, request):
    """The stores of a worker; DATA is in them."""
    settings = settings.model_copy(update={"blob_store": request.param})
    store, broker, blobs = Store(settings.redis_url), Broker(settings), open_blobs(settings)
    blobs.put("t", DATA)
    yield Execution(settings, store, blobs, broker, worker="w")
    broker.close()
    store.close()


@pytest.fixture
def source(execution):
    return InputSource(blob=execution._blobs.put("t", DATA).name)


def test_it_reads_and_seeks_as_any_file_does(execution, source):
    file, other = new_attempt(execution).open(source), io.BytesIO(DATA)
    for offset, whence, size in (
        (0, os.SEEK_SET, 10), (5, os.SEEK_CUR, 300), (-7, os.SEEK_END, 100), (20_000, os.SEEK_SET, 5),
        (10_239, os.SEEK_SET, 4), (0, os.SEEK_SET, -1),
    ):  # fmt: skip
        assert file.seek(offset, whence) == other.seek(offset, whence)
        assert file.read(size) == other.read(size)
        assert file.tell() == other.tell()
    with pytest.raises(ValueError, match="no byte"):
        file.seek(-1)


def test_what_is_not_there_is_said_at_once_or_when_it_is_read(execution, source):
    with pytest.raises(BlobNotFound):
        new_attempt(execution).open(InputSource(blob="blobs/sha256-" + "0" * 64))
    with pytest.raises(FieldInvalid, match="only blobs"):
        new_attempt(execution).open(InputSource(content=b"x"))
    file = new_attempt(execution).open(source)
    execution._blobs.delete("t", source.blob)
    with pytest.raises(BlobNotFound):
        file.read(1)
