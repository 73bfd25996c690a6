"""Posts to an address that was looked up once and checked, and to no other."""

from __future__ import annotations

import asyncio
import email.utils
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import h11

from triptych.services.webhook_url import WebhookUrl

_MAX_ADDRESSES = 3
_CONNECT_S = 5.0
# Status line and headers; of the answer's body nothing is wanted.
_MAX_ANSWER_BYTES = 16 * 1024
_CHUNK_BYTES = 4096

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
CheckAddresses = Callable[[str, Sequence[str]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a post: a status, or the error that there was instead."""

    status: int = 0
    error: str = ""
    retry_after_s: float = 0


class NameLookup:
    """Asks the system for a name's addresses, in threads of its own: a name server that is silent holds up nobody else.

    Args:
        threads: Look-ups at a time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="lookup")

    async def __call__(self, host: str, port: int) -> list[str]:
        """Gives the addresses, best first.

        Raises:
            OSError: There are none.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _addresses, host, port)
        return list(dict.fromkeys(found))


class Poster:
    """Sends one POST per connection. Redirects are answers like others, and no proxy is asked.

    Args:
        resolve: Gives the addresses of a name; asked once per post.
        check_addresses: Raises WebhookNotAllowed.
        tls: Says which certificates are trusted.
    """

    def __init__(self, resolve: Resolve, check_addresses: CheckAddresses, tls: ssl.SSLContext) -> None:
        self._resolve = resolve
        self._check_addresses = check_addresses
        self._tls = tls

    async def post(
        self, url: WebhookUrl, headers: Sequence[tuple[str, str]], body: bytes, *, timeout_s: float
    ) -> Answer:
        """Posts a body and gives the answer, whatever it is; after `timeout_s` that is an error, however far it came.

        Raises:
            WebhookNotAllowed: The host is at an address that may not be connected to.
        """
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await self._connect(url)
                try:
                    return await _exchange(reader, writer, url, headers, body)
                finally:
                    # A polite end could be drawn out by the other side.
                    writer.transport.abort()
        except OSError as error:
            return Answer(error=_said(error))
        except h11.RemoteProtocolError:
            return Answer(error="no answer in HTTP")

    async def _connect(self, url: WebhookUrl) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        addresses = await self._resolve(url.host, url.port)
        self._check_addresses(url.host, addresses)
        tls: dict[str, Any] = {"ssl": self._tls, "server_hostname": url.host} if url.scheme == "https" else {}
        failed = OSError("no address")
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    # An address, so that nothing looks the name up again.
                    return await asyncio.open_connection(address, url.port, **tls)
            except OSError as error:
                failed = error
        raise failed


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    url: WebhookUrl,
    headers: Sequence[tuple[str, str]],
    body: bytes,
) -> Answer:
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method="POST",
        target=url.target,
        headers=[("host", url.authority), ("connection", "close"), ("content-length", str(len(body))), *headers],
    )
    for part in (request, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(http.send(part) or b"")
    await writer.drain()
    left_bytes = _MAX_ANSWER_BYTES
    while left_bytes > 0:
        answer = http.next_event()
        if isinstance(answer, h11.Response):
            return Answer(status=answer.status_code, retry_after_s=_retry_after_s(dict(answer.headers)))
        if answer is h11.NEED_DATA:
            data = await reader.read(_CHUNK_BYTES)
            left_bytes -= len(data)
            http.receive_data(data)
        elif not isinstance(answer, h11.InformationalResponse):
            break
    raise h11.RemoteProtocolError("no answer, or one without an end")


def _addresses(host: str, port: int) -> list[str]:
    return [str(place[0]) for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _retry_after_s(headers: dict[bytes, bytes]) -> float:
    """Reads the header, which is a number of seconds or a date; 0 if it is neither."""
    text = headers.get(b"retry-after", b"").decode("latin-1")
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0


def _said(error: OSError) -> str:
    """Says what went wrong, without addresses and URLs."""
    match error:
        case TimeoutError():
            return "timed out"
        case socket.gaierror():
            return "no such host"
        case ssl.SSLCertVerificationError():
            return f"TLS: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {error.reason}"
        case _:
            return os.strerror(error.errno).lower() if error.errno else str(error)
