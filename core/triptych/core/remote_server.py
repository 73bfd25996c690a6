"""A server outside that answers for a model: where it is, what it takes and what it costs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field

from triptych.core.errors import FieldInvalid

# Prices and budgets are counted in millionths of the operator's currency: sums are exact.
MICROS = 1_000_000


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("has to be http://HOST[:PORT]/PATH or https://..., without user, query and fragment")
    return url.rstrip("/")


Price = Annotated[float, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteServer:
    """An OpenAI-compatible server (vLLM, SGLang, llama.cpp, a closed API) and one model of it."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    base_url: Annotated[str, AfterValidator(_base_url)]
    """What `/chat/completions` is appended to, such as `https://api.example.com/v1`."""
    model: Annotated[str, Field(min_length=1)]
    """Its name there."""
    api_key_env: str = ""
    """Environment variable of the worker that holds the key."""
    api_key_file: str = ""
    """File that holds the key; read at each call, so that it can be changed."""
    input_price: Price = 0
    """Of a million tokens read, in the currency of the policy's budgets."""
    output_price: Price = 0
    """Of a million tokens written."""
    image_tokens: Annotated[int, Field(ge=0)] = 6000
    """The most that one image may be counted as: what is reserved for it."""
    max_image_pixels: Annotated[int, Field(ge=10_000)] = 4_000_000
    """Larger images are scaled down before they leave."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    """Calls of one worker at a time."""
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    """Further attempts at one call after 429, 5xx or a connection that failed, while no text came."""
    connect_timeout_s: Seconds = 5
    """Until there is a connection."""
    quiet_timeout_s: Seconds = 60
    """Longest silence of a server that was asked."""
    timeout_s: Seconds = 600
    """Longest call, retries apart."""
    max_tokens_field: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] = "max_tokens"
    """What the bound on the answer is called there; newer closed APIs say `max_completion_tokens`."""
    send_temperature: bool = True
    """Whether temperature, top_p and seed are sent; newer closed APIs refuse all but their own."""
    strict_schema: bool = False
    """Whether schemas are marked `strict`. OpenAI then takes only those with `additionalProperties: false` and all
    required; either way the answer is validated here."""

    @property
    def host(self) -> str:
        """Host and port: who gets the bytes."""
        return urlsplit(self.base_url).netloc

    def cost_micros(self, input_tokens: int, output_tokens: int) -> int:
        """Gives what a call costs, in millionths, rounded up."""
        # A million tokens cost the price, so a token costs its millionth: micros come out without a factor.
        cost = input_tokens * self.input_price + output_tokens * self.output_price
        return -int(-cost // 1)

    def api_key(self) -> str:
        """Gives the key; empty if none is needed.

        Raises:
            FieldInvalid: It is not where the catalogue says, or cannot be the value of a header.
        """
        if self.api_key_file:
            try:
                # Editors may put a byte order mark before it.
                key = Path(self.api_key_file).expanduser().read_text("utf-8-sig").strip()
            except (OSError, UnicodeDecodeError):
                # The bytes of the error would be the key's.
                raise FieldInvalid("api_key_file", f"{self.api_key_file} cannot be read") from None
            return _printable(key, "api_key_file", self.api_key_file)
        if self.api_key_env:
            if not (key := os.environ.get(self.api_key_env, "").strip()):
                raise FieldInvalid("api_key_env", f"{self.api_key_env} is not set")
            return _printable(key, "api_key_env", self.api_key_env)
        return ""


def _printable(key: str, field: str, place: str) -> str:
    if not (key.isascii() and key.isprintable()):
        raise FieldInvalid(field, f"{place} holds no key: one is a line of printable ASCII characters")
    return key
