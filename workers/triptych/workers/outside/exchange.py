"""One attempt at one call: sends a request, gives the answer as it grows, and says what became of it."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress

import httpx2

from triptych.core.remote_server import RemoteServer
from triptych.workers.outside.answer import Answer, AnswerBroken
from triptych.workers.outside.message import Message

log = logging.getLogger("triptych.outside")

# What a refusal says is not waited for longer, nor read further: nothing depends on it.
_ERROR_S, _MAX_ERROR_BYTES = 2.0, 64 * 1024
_NAME = re.compile(r"[a-z][a-z_.]{0,63}")


class CallFailed(Exception):
    """An attempt that gave no answer. Its text is safe to tell: it has neither contents nor keys.

    Attributes:
        outcome: For the ledger, see `spending.Entry`.
        status: Of HTTP; 0: there was none.
        free: Whether the server cannot have counted it.
        retryable: Whether the same call may succeed later.
        at_fault: Whether it speaks against the server's health.
        retry_after_s: How long the server asks to be left alone; 0: it does not say.
    """

    def __init__(
        self, outcome: str, said: str, *, status: int = 0, free: bool, retryable: bool, at_fault: bool
    ) -> None:
        super().__init__(said)
        self.outcome = outcome
        self.status = status
        self.free = free
        self.retryable = retryable
        self.at_fault = at_fault
        self.retry_after_s = 0.0


def client() -> httpx2.AsyncClient:
    """Makes what all calls of a worker go through. No proxy of the environment is asked, no redirect followed.

    The catalogue says where the bytes go, and they go nowhere else.
    """
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=30)
    return httpx2.AsyncClient(trust_env=False, follow_redirects=False, limits=limits)


async def exchange(
    http: httpx2.AsyncClient,
    server: RemoteServer,
    message: Message,
    on_text: Callable[[str, int], None],
) -> Answer:
    """Asks the server once. Cancelling closes the connection.

    Args:
        http: See `client`.
        server: Who is asked.
        message: What.
        on_text: Told of all the text there is and how many pieces it came in, each time there is more.

    Raises:
        CallFailed: There is no answer, or none that came to its end.
        FieldInvalid: The key is not where the catalogue says.
    """
    headers = {"content-type": "application/json"}
    if key := server.api_key():
        headers["authorization"] = f"Bearer {key}"
    timeout = httpx2.Timeout(
        connect=server.connect_timeout_s, read=server.quiet_timeout_s, write=server.quiet_timeout_s, pool=None
    )
    answer = Answer(message.max_output_tokens)
    url = f"{server.base_url}/chat/completions"
    try:
        async with http.sse(url, method="POST", content=message.body, headers=headers, timeout=timeout) as events:
            if events.response.status_code != 200:
                raise await _refused(events.response)
            async for event in events:
                if answer.add(event.data):
                    on_text(answer.text, answer.piece_count)
                elif event.data == "[DONE]":
                    break
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise CallFailed("unreachable", "no connection", free=True, retryable=True, at_fault=True) from error
    except httpx2.TimeoutException as error:
        raise CallFailed("timed_out", "silent for too long", free=False, retryable=True, at_fault=True) from error
    except (httpx2.HTTPError, AnswerBroken) as error:
        said = str(error) if isinstance(error, AnswerBroken) else "the connection broke"
        raise CallFailed("cut", said, free=False, retryable=True, at_fault=True) from error
    if not answer.complete:
        raise CallFailed("cut", "the answer stopped in the middle", free=False, retryable=True, at_fault=True)
    return answer


async def _refused(response: httpx2.Response) -> CallFailed:
    status = response.status_code
    overloaded = status in (408, 429) or status >= 500
    why = await _cause(response)
    log.warning("a server outside refused a call", extra={"host": response.url.host, "status": status, "why": why})
    failed = CallFailed(
        f"http_{status}", f"HTTP {status}", status=status, free=True, retryable=overloaded, at_fault=status >= 500
    )
    failed.retry_after_s = _retry_after_s(response.headers.get("retry-after", ""))
    return failed


async def _cause(response: httpx2.Response) -> str:
    """Gives the code and type that an error names, if they are names: its message may quote what was sent."""
    body = b""
    broken = (httpx2.HTTPError, TimeoutError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
    with suppress(*broken):
        async with asyncio.timeout(_ERROR_S):
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_ERROR_BYTES:
                    return ""
        error = json.loads(body)["error"]
        names = [error.get(key) for key in ("code", "type")]
        return " ".join(name for name in names if isinstance(name, str) and _NAME.fullmatch(name))
    return ""


def _retry_after_s(text: str) -> float:
    """Reads the header, which is a number of seconds or a date; 0 if it is neither."""
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0
