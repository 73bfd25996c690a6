"""A prompt as the bytes of a chat completion, and the most tokens that it can be."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from triptych.core.remote_server import RemoteServer
from triptych.workers.engines.generation import CHARACTERS_PER_TOKEN, Part, Pixels, Prompt

# What chat templates put around each turn, at most.
_TURN_TOKENS = 32
_PNG_LEVEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent.

    Attributes:
        body: JSON of the request.
        digest: SHA-256 of it, in hexadecimal digits.
        image_count: Images in it.
        most_input_tokens: No tokenizer makes more of it: every one of its bytes is a token at most, and an image as the
            catalogue says.
        likely_input_tokens: About how many it is.
        max_output_tokens: Bound of the answer.
        has_schema: Whether the answer has to be JSON.
    """

    body: bytes
    digest: str
    image_count: int
    most_input_tokens: int
    likely_input_tokens: int
    max_output_tokens: int
    has_schema: bool


def written(prompt: Prompt, server: RemoteServer, schema: str) -> Message:
    """Writes the request of a prompt; its images are encoded anew from their pixels, so nothing else travels along.

    Args:
        prompt: As it may leave.
        server: Who gets it.
        schema: JSON Schema of the answer; empty: free text.
    """
    request: dict[str, Any] = {
        "model": server.model,
        "messages": [
            {"role": role, "content": [_part(part, server.max_image_pixels) for part in parts]}
            if any(not isinstance(part, str) for part in parts) or len(parts) != 1
            else {"role": role, "content": parts[0]}
            for role, parts in prompt.turns
        ],
        server.max_tokens_field: prompt.max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if server.send_temperature:
        request["temperature"] = prompt.temperature
        if prompt.temperature > 0:
            # Some servers hold seeds in 32 bits, signed.
            request |= {"top_p": prompt.top_p, "seed": prompt.seed % (1 << 31)}
    if prompt.stop_sequences:
        request["stop"] = list(prompt.stop_sequences)
    if schema:
        shape = {"name": "output", "schema": json.loads(schema)}
        if server.strict_schema:
            shape["strict"] = True
        request["response_format"] = {"type": "json_schema", "json_schema": shape}
    body = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
    texts = [part for _, parts in prompt.turns for part in parts if isinstance(part, str)] + [schema]
    around = _TURN_TOKENS * (len(prompt.turns) + 1) + server.image_tokens * len(prompt.images())
    return Message(
        body=body,
        digest=hashlib.sha256(body).hexdigest(),
        image_count=len(prompt.images()),
        most_input_tokens=around + sum(len(text.encode()) for text in texts),
        likely_input_tokens=around + math.ceil(sum(map(len, texts)) / CHARACTERS_PER_TOKEN),
        max_output_tokens=prompt.max_output_tokens,
        has_schema=bool(schema),
    )


def _part(part: Part, max_pixels: int) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url = "data:image/png;base64," + base64.b64encode(_png(part, max_pixels)).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def _png(pixels: Pixels, max_pixels: int) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if (scale := math.sqrt(max_pixels / (image.width * image.height))) < 1:
        size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()
