"""Free addresses on this machine's loopback."""

from __future__ import annotations

import socket

from triptych.core.errors import FieldInvalid

MAX_PORT = 65_535


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do: a port whose last connections are closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Gives a port that nobody listens on.

    A fixed number rather than port 0, so that a restarted process is found where it was.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def split_address(address: str) -> tuple[str, int]:
    """Splits "host:port".

    Raises:
        FieldInvalid: It does not look like that.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise FieldInvalid("TRIPTYCH_LISTEN", f"'{address}' is not of the form host:port")
    return host.strip("[]"), int(port)
