"""Every blob store keeps the same promises."""

import contextlib
import hashlib
import os
import threading
import time
import uuid
from pathlib import Path

import pytest
import redis

from triptych.core.directory_blobs import DirectoryBlobs
from triptych.core.errors import (
    BackendUnavailable,
    BlobNotFound,
    DigestMismatch,
    FieldInvalid,
    HostExhausted,
    UploadNotFound,
    UploadOffsetMismatch,
)
from triptych.core.redis_blobs import RedisBlobs
from triptych.core.testing import MemoryBlobs

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture(params=["directory", "redis", "memory"])
def blobs(request, tmp_path):
    if request.param == "directory":
        return DirectoryBlobs(tmp_path / "blobs", ttl_s=3600)
    if request.param == "redis":
        return RedisBlobs(request.getfixturevalue("redis_url"), ttl_s=3600)
    return MemoryBlobs()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_a_blob_is_named_by_its_digest_and_sniffed(blobs):
    stored = blobs.put("acme", PNG)
    assert stored.name == f"blobs/sha256-{sha256(PNG)}"
    assert (stored.size_bytes, stored.media_type) == (len(PNG), "image/png")
    assert blobs.read("acme", stored.name) == PNG
    assert blobs.put("acme", PNG).name == stored.name


def test_a_part_of_a_blob_can_be_read(blobs):
    name = blobs.put("acme", b"0123456789").name
    assert blobs.read("acme", name, 3, 4) == b"3456"
    assert blobs.read("acme", name, 8) == b"89"


def test_a_tenant_does_not_see_anothers_blob(blobs):
    name = blobs.put("acme", PNG).name
    for call in (blobs.read, blobs.stat, blobs.touch):
        with pytest.raises(BlobNotFound):
            call("other", name)


def test_a_deleted_blob_is_gone_and_deleting_twice_is_no_error(blobs):
    name = blobs.put("acme", PNG).name
    blobs.delete("acme", name)
    blobs.delete("acme", name)
    with pytest.raises(BlobNotFound):
        blobs.read("acme", name)


def test_a_name_that_is_no_digest_is_refused(blobs):
    for name in ("blobs/../../etc/passwd", "blobs/sha256-XYZ", "", "sha256-" + "0" * 64):
        with pytest.raises(FieldInvalid):
            blobs.read("acme", name)


def test_an_upload_grows_by_chunks_and_becomes_a_blob(blobs):
    upload = str(uuid.uuid4())
    assert blobs.append("acme", upload, 0, b"hello ") == 6
    assert blobs.upload_size("acme", upload) == 6
    assert blobs.append("acme", upload, 6, b"world") == 11
    stored = blobs.commit("acme", upload, 11, sha256(b"hello world"))
    assert blobs.read("acme", stored.name) == b"hello world"
    with pytest.raises(UploadNotFound):
        blobs.upload_size("acme", upload)


def test_a_chunk_at_the_wrong_place_is_refused_and_changes_nothing(blobs):
    blobs.append("acme", "u1", 0, b"abc")
    with pytest.raises(UploadOffsetMismatch):
        blobs.append("acme", "u1", 2, b"x")
    assert blobs.upload_size("acme", "u1") == 3


@pytest.mark.parametrize(("size", "digest"), [(3, "0" * 64), (4, sha256(b"abc"))])
def test_an_upload_that_is_not_what_its_sender_says_is_dropped(blobs, size, digest):
    blobs.append("acme", "u1", 0, b"abc")
    with pytest.raises(DigestMismatch):
        blobs.commit("acme", "u1", size, digest)
    with pytest.raises(UploadNotFound):
        blobs.upload_size("acme", "u1")


def test_an_upload_id_is_never_a_path(blobs):
    with pytest.raises(FieldInvalid):
        blobs.append("acme", "../../evil", 0, b"x")


def test_a_use_never_shortens_a_life(blobs):
    if isinstance(blobs, MemoryBlobs):
        return
    long = blobs.put("acme", PNG, ttl_s=9000)
    assert blobs.touch("acme", long.name, ttl_s=10).expire_time_s >= long.expire_time_s - 1


def test_everything_of_a_tenant_can_be_listed(blobs):
    names = {blobs.put("acme", data).name for data in (b"one", b"two")}
    blobs.put("other", b"three")
    blobs.append("acme", "u1", 0, b"half")
    assert blobs.names("acme") == names
    assert blobs.uploads("acme") == {"u1"}
    assert (blobs.names("nobody"), blobs.uploads("nobody")) == (set(), set())


def test_what_a_crash_left_half_written_is_listed_and_deleted_like_the_whole(tmp_path):
    blobs = DirectoryBlobs(tmp_path, ttl_s=60)
    name = blobs.put("acme", b"whole").name
    whole = next(path for path in tmp_path.rglob("*") if path.name == name[-64:])
    (whole.parent / f"{whole.name}.0123.part").write_bytes(b"who")
    whole.unlink()
    assert blobs.names("acme") == {name}
    blobs.delete("acme", name)
    assert blobs.names("acme") == set()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"lock"}


def test_tenants_with_a_dot_or_an_underscore_are_not_the_same(tmp_path):
    blobs = DirectoryBlobs(tmp_path, ttl_s=60)
    name = blobs.put("team.a", b"x").name
    with pytest.raises(BlobNotFound):
        blobs.read("team_a", name)


def test_files_over_their_time_are_gone_and_swept(tmp_path):
    blobs = DirectoryBlobs(tmp_path, ttl_s=60)
    old, new = blobs.put("acme", b"old"), blobs.put("acme", b"new")
    blobs.append("acme", "u1", 0, b"half")
    ttl_file = next(path for path in tmp_path.rglob("*.ttl") if path.stem == old.name[-64:])
    long_ago = time.time() - 7200
    os.utime(ttl_file, (long_ago, long_ago))
    os.utime(tmp_path / "acme" / "uploads" / "u1", (long_ago, long_ago))
    with pytest.raises(BlobNotFound):
        blobs.read("acme", old.name)
    assert blobs.expire() == 2
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {new.name[-64:], f"{new.name[-64:]}.ttl", "lock"}


def test_a_tenants_name_is_never_a_path(tmp_path):
    blobs = DirectoryBlobs(tmp_path / "blobs", ttl_s=60)
    blobs.put("../../evil", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["blobs"]


def test_bytes_that_come_again_while_they_expire_are_kept(tmp_path, monkeypatch):
    blobs = DirectoryBlobs(tmp_path, 0)
    name = f"blobs/sha256-{sha256(b'again')}"
    with contextlib.suppress(BlobNotFound):
        blobs.put("t", b"again")
    again = threading.Thread(target=blobs.put, args=("t", b"again", 3600))
    unlink = Path.unlink

    def interrupted(path, missing_ok=False):
        if again.ident is None:
            again.start()
            again.join(0.5)  # it gets through here, or waits for its turn
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", interrupted)
    assert blobs.expire() == 1
    again.join()
    assert blobs.read("t", name) == b"again"


def test_no_moment_leaves_a_redis_blob_without_an_end(redis_url, monkeypatch):
    blobs = RedisBlobs(redis_url, 3600)
    client = redis.Redis.from_url(redis_url)

    run = blobs._store.run

    def watched(op):
        answer = run(op)
        assert all(client.pttl(key) > 0 for key in client.keys("triptych:blob:*")), op.command
        return answer

    monkeypatch.setattr(blobs._store, "run", watched)
    name = blobs.put("t", b"x").name
    blobs.put("t", b"x", ttl_s=7200)
    blobs.touch("t", name)
    assert client.pttl(client.keys("triptych:blob:*")[0]) > 3600_000
    client.close()


def test_a_full_disk_is_said_and_leaves_nothing_behind(small_disk):
    blobs = DirectoryBlobs(small_disk.path / "blobs", ttl_s=60)
    small_disk.fill(leave_bytes=64 * 1024)
    with pytest.raises(HostExhausted) as refused:
        blobs.put("acme", bytes(1024 * 1024))
    assert refused.value.retry_after_s
    facts = {"resource": "disk", "free_bytes": str(64 * 1024), "wanted_bytes": str(1024 * 1024)}
    assert refused.value.metadata == facts
    assert [path.name for path in (small_disk.path / "blobs").rglob("*") if path.is_file()] == ["lock"]
    small_disk.clear()
    assert blobs.read("acme", blobs.put("acme", bytes(1024 * 1024)).name) == bytes(1024 * 1024)


def test_on_a_full_disk_what_is_there_can_be_used_as_long_as_before_but_no_longer(small_disk):
    blobs = DirectoryBlobs(small_disk.path, ttl_s=60)
    name = blobs.put("acme", PNG).name
    small_disk.fill()
    assert blobs.put("acme", PNG).name == blobs.touch("acme", name).name == name
    with pytest.raises(HostExhausted):
        blobs.touch("acme", name, ttl_s=7200)
    assert blobs.read("acme", name) == PNG
    assert small_disk.halves() == []


def test_an_upload_that_met_a_full_disk_goes_on_where_it_stopped(small_disk):
    blobs = DirectoryBlobs(small_disk.path, ttl_s=60)
    data = os.urandom(1024 * 1024)
    half = len(data) // 2
    blobs.append("acme", "u1", 0, data[:half])
    small_disk.fill(leave_bytes=64 * 1024)
    with pytest.raises(HostExhausted):
        blobs.append("acme", "u1", half, data[half:])
    kept = blobs.upload_size("acme", "u1")
    assert half <= kept <= half + 64 * 1024
    small_disk.clear()
    blobs.append("acme", "u1", kept, data[kept:])
    small_disk.fill()
    with pytest.raises(HostExhausted):
        blobs.commit("acme", "u1", len(data), sha256(data))
    assert small_disk.halves() == []
    small_disk.clear()
    assert blobs.read("acme", blobs.commit("acme", "u1", len(data), sha256(data)).name) == data


def test_what_expired_can_be_deleted_on_a_full_disk(small_disk):
    blobs = DirectoryBlobs(small_disk.path, ttl_s=60)
    with pytest.raises(BlobNotFound):
        blobs.put("acme", bytes(1024 * 1024), ttl_s=-1)
    small_disk.fill()
    assert blobs.expire() == 1
    blobs.put("acme", bytes(512 * 1024))


def test_a_redis_without_memory_is_away_and_keeps_what_it_has(redis_url, redis_used):
    blobs = RedisBlobs(redis_url, 3600)
    name = blobs.put("acme", PNG).name
    blobs.append("acme", "u1", 0, b"abc")
    redis_used(2)
    for work in (lambda: blobs.put("acme", b"new"), lambda: blobs.append("acme", "u1", 3, b"d")):
        with pytest.raises(BackendUnavailable):
            work()
    assert blobs.read("acme", name) == PNG
    redis_used(0)
    assert blobs.append("acme", "u1", 3, b"d") == 4
