"""The URL of a webhook, taken apart once: what is checked is what is connected to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_MAX_URL = 2048
_PORTS = {"https": 443, "http": 80}
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_IPV6 = r"\[[0-9A-Fa-f:.]{2,45}\]"
# Only what is written here gets through: no user, no fragment, no blanks, no letters beyond ASCII.
_URL = re.compile(
    rf"(?P<scheme>(?i:https?))://(?P<host>{_NAME}|{_IPV6})(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?P<target>(?:/[!\"$-~]*)?(?:\?[!\"$-~]*)?)\Z"
)
_PATTERN = re.compile(rf"(?:(?P<scheme>https?)://)?(?P<host>\*|(?:\*\.)?{_NAME}|{_IPV6})(?::(?P<port>[0-9]{{1,5}}))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookUrl:
    """Where a message goes.

    Attributes:
        scheme: "https" or "http".
        host: Name or address in lower case, an IPv6 address without brackets.
        authority: Host and port as the URL has them.
        target: Path and query.
    """

    scheme: str
    host: str
    port: int
    authority: str
    target: str

    @classmethod
    def parse(cls, url: str) -> WebhookUrl:
        """Reads a URL.

        Raises:
            ValueError: It is none that a message could be sent to.
        """
        if len(url) > _MAX_URL:
            raise ValueError(f"has {len(url)} characters; at most {_MAX_URL} are allowed")
        match = _URL.match(url)
        if not match:
            raise ValueError(
                "is no http or https URL in ASCII without user and fragment, such as https://hooks.example.com/jobs"
            )
        scheme, port, target = match["scheme"].lower(), match["port"], match["target"]
        return cls(
            scheme=scheme,
            host=_host(match["host"]),
            port=_port(port, scheme),
            authority=match["host"].lower() + (f":{port}" if port else ""),
            target=target if target.startswith("/") else f"/{target}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedHosts:
    """Hosts as `webhook_hosts` names them: `hooks.example.com`, `*.example.org:8443`, `http://10.0.0.7`, `*`."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, pattern: str) -> AllowedHosts:
        """Reads a pattern.

        Raises:
            ValueError: It is none.
        """
        match = _PATTERN.match(pattern)
        if not match:
            raise ValueError(f"{pattern!r} is not of the form [http://]host[:port]")
        scheme = match["scheme"] or "https"
        return cls(scheme=scheme, host=_host(match["host"]), port=_port(match["port"], scheme))

    def hold(self, url: WebhookUrl) -> bool:
        """Whether the URL's scheme, host and port are among them."""
        if (url.scheme, url.port) != (self.scheme, self.port):
            return False
        if self.host.startswith("*"):
            return url.host.endswith(self.host[1:])
        return url.host == self.host


def _host(text: str) -> str:
    if text.startswith("["):
        return str(ipaddress.IPv6Address(text.strip("[]")))
    return text.lower()


def _port(text: str | None, scheme: str) -> int:
    port = int(text) if text else _PORTS[scheme]
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port")
    return port
