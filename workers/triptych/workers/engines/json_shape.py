"""Follows a JSON text that grows, as far as to say how much is still open."""

from __future__ import annotations

from dataclasses import dataclass

_QUOTE, _BACKSLASH = b'"\\'
_OPENING, _CLOSING = b"{[", b"}]"


@dataclass(frozen=True, slots=True)
class JsonShape:
    """Where a JSON text stands.

    Attributes:
        depth: Objects and arrays that are not closed.
        in_string: Whether a string is not closed.
        escaped: Whether the last byte was a backslash that begins an escape.
    """

    depth: int = 0
    in_string: bool = False
    escaped: bool = False

    @property
    def open_count(self) -> int:
        """At least so many bytes are needed to close everything."""
        return self.depth + self.in_string

    def after(self, data: bytes) -> JsonShape:
        """Gives the shape after more text."""
        depth, in_string, escaped = self.depth, self.in_string, self.escaped
        for byte in data:
            if escaped:
                escaped = False
            elif in_string:
                escaped, in_string = byte == _BACKSLASH, byte != _QUOTE
            elif byte == _QUOTE:
                in_string = True
            else:
                depth += (byte in _OPENING) - (byte in _CLOSING)
        return JsonShape(depth, in_string, escaped)
