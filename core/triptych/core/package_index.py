"""Finds wheels on a package index and downloads them, going on where an interrupted try stopped."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from triptych.core.errors import BackendUnavailable, DigestMismatch, FieldInvalid, JobCancelled, ModelNotFound
from triptych.core.manifest import sha256_of

ATTEMPTS = 5
"""Tries in a row that bring no byte before a download is given up."""
BACKOFF_S = 0.5
"""Wait after the first of them; it doubles with each."""
TIMEOUT_S = 60.0
"""Longest silence of a connection."""
_CHUNK_BYTES = 256 * 1024
_MAX_PAGE_BYTES = 64 * 1024 * 1024
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.2"
_TRANSIENT = (408, 425, 429)

OnBytes = Callable[[int, int], None]
"""Told (bytes done, bytes in all) of one wheel; bytes in all is 0 while unknown."""
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel as the index lists it."""

    package: str
    version: str
    url: str
    sha256: str
    """Digest that the index states; empty if it states none."""


class _Cut(Exception):
    """The connection ended before the file did."""


class _Links(HTMLParser):
    """Collects the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hrefs += [value for key, value in attrs if tag == "a" and key == "href" and value]


def find(index_url: str, package: str, version: str, stop: threading.Event) -> Wheel:
    """Asks the index (PEP 691, else PEP 503) for the wheel of exactly this version.

    Raises:
        BackendUnavailable: The index cannot be reached, or is none.
        ModelNotFound: It has no such wheel.
        FieldInvalid: `index_url` is no http(s) URL.
    """
    page_url = f"{index_url.rstrip('/')}/{re.sub(r'[-_.]+', '-', package).lower()}/"

    def read_page() -> list[tuple[str, str]]:
        with _open(page_url, {"Accept": _ACCEPT}) as response:
            body = response.read(_MAX_PAGE_BYTES)
            return _listed(body, response.headers.get_content_type(), response.geturl())

    try:
        links = _persist(read_page, page_url, stop)
    except (ValueError, KeyError, TypeError) as error:
        raise BackendUnavailable(f"{page_url} did not answer as a package index does: {error!r}") from error
    # A wheel is called NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl, NAME with _ for every run of - _ and .
    start = f"{re.sub(r'[-_.]+', '_', package)}-{version}-".lower()
    wheels = sorted((not url.endswith("-none-any.whl"), url, sha256) for url, sha256 in links if _named(url, start))
    if not wheels:
        raise ModelNotFound(f"{page_url} has no wheel of {package} {version}")
    return Wheel(package=package, version=version, url=wheels[0][1], sha256=wheels[0][2])


def download(wheel: Wheel, target: Path, *, on_bytes: OnBytes, stop: threading.Event) -> None:
    """Brings the wheel to `target`; what an interrupted try left in `<target>.part` is not fetched again.

    Args:
        wheel: What to fetch.
        target: File to make; its folder has to exist.
        on_bytes: Told of progress.
        stop: Set by another thread to give up; the part stays for a later call.

    Raises:
        BackendUnavailable: The connection failed over and over.
        DigestMismatch: The bytes are not those that the index states; nothing is left.
        JobCancelled: `stop` was set.
    """
    part = target.with_name(target.name + ".part")

    def size() -> int:
        return part.stat().st_size if part.exists() else 0

    resumed = size() > 0
    _persist(lambda: _fetch_rest(wheel.url, part, size(), on_bytes, stop), wheel.url, stop, size)
    if wheel.sha256 and (found := sha256_of(part)) != wheel.sha256:
        part.unlink()
        if resumed:  # the fault may be in the old part: once more from the start
            download(wheel, target, on_bytes=on_bytes, stop=stop)
            return
        raise DigestMismatch(
            f"the wheel of {wheel.package} {wheel.version}: SHA-256 is {found}, the index states {wheel.sha256}"
        )
    part.replace(target)


def _fetch_rest(url: str, part: Path, done: int, on_bytes: OnBytes, stop: threading.Event) -> None:
    try:
        response = _open(url, {"Range": f"bytes={done}-"} if done else {})
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            error.close()
            return  # nothing is missing; whether it is the right file, the digest tells
        raise
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            done = 0
        elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {done}-"):
            raise _Cut(f"{url} answered with another range than asked for")
        length = int(response.headers.get("Content-Length") or 0)
        total = done + length if length else 0
        with part.open("ab" if done else "wb") as file:
            while chunk := response.read(_CHUNK_BYTES):
                done += file.write(chunk)
                on_bytes(done, total)
                if stop.is_set():
                    raise JobCancelled("the download was stopped")
    if total and done != total:  # reading from a connection that was cut just ends
        raise _Cut(f"the connection ended after {done} of {total} bytes")


def _persist(
    action: Callable[[], ValueT], url: str, stop: threading.Event, progress: Callable[[], int] = lambda: 0
) -> ValueT:
    """Repeats the action while it fails in a way that may pass, as long as it gets on."""
    failures, reached = 0, progress()
    while True:
        try:
            return action()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.NOT_FOUND:
                raise ModelNotFound(f"there is no {url}") from error
            if error.code < http.client.INTERNAL_SERVER_ERROR and error.code not in _TRANSIENT:
                raise BackendUnavailable(f"{url} answered {error.code} {error.reason}") from error
            reason: Exception = error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason = error
        except _Cut as error:
            reason = error
        failures = 1 if progress() > reached else failures + 1
        reached = progress()
        if failures >= ATTEMPTS:
            raise BackendUnavailable(f"cannot fetch {url}, tried {ATTEMPTS} times: {reason}") from reason
        if stop.wait(BACKOFF_S * 2 ** (failures - 1)):
            raise JobCancelled("the download was stopped")


def _listed(body: bytes, content_type: str, page_url: str) -> list[tuple[str, str]]:
    """Gives (URL, SHA-256 or nothing) of every file on an index page."""
    if content_type.endswith("json"):
        files = json.loads(body)["files"]
        return [(urljoin(page_url, file["url"]), file.get("hashes", {}).get("sha256", "")) for file in files]
    page = _Links()
    page.feed(body.decode("utf-8", "replace"))
    links = [urldefrag(urljoin(page_url, href)) for href in page.hrefs]
    return [(url, tag.removeprefix("sha256=") if tag.startswith("sha256=") else "") for url, tag in links]


def _named(url: str, start: str) -> bool:
    name = unquote(urlsplit(url).path.rpartition("/")[2]).lower()
    distribution, dash, rest = name.partition("-")
    return name.endswith(".whl") and (re.sub(r"[-_.]+", "_", distribution) + dash + rest).startswith(start)


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    if urlsplit(url).scheme not in ("http", "https"):
        raise FieldInvalid("package_index_url", f"{url} is no http or https URL")
    request = urllib.request.Request(url, headers={"User-Agent": "triptych", **headers})  # noqa: S310 - checked above
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310 - likewise
    return response
