"""What a process tells about itself: log lines and metrics."""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping

from prometheus_client import start_http_server

from triptych.core.settings import Settings

_bound: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("log_fields", default={})  # noqa: B039
# What a LogRecord has by itself; anything else came in `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextlib.contextmanager
def bound(**fields: str) -> Iterator[None]:
    """Adds fields (job_id, trace_id) to every log line of this context."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, bound and extra fields, the trace of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Gives the line."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_bound.get(),
            **{key: value for key, value in vars(record).items() if key not in _OWN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Gives the line."""
        extra = {**_bound.get(), **{key: value for key, value in vars(record).items() if key not in _OWN}}
        fields = " ".join(f"{key}={value}" for key, value in extra.items())
        return f"{super().format(record)}{'  ' if fields else ''}{fields}"


def setup_logging(settings: Settings) -> None:
    """Sends all log lines to standard error in the format of the settings. Call it once, in main."""
    handler = logging.StreamHandler(sys.stderr)
    text = TextLines("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if settings.log_format == "json" else text)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # Libraries that narrate.
    for noisy in ("kombu", "celery", "httpx", "httpx2", "httpcore2", "PIL", "matplotlib", "paddlex", "ppocr"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def serve_metrics(address: str) -> str:
    """Serves the Prometheus page on "host:port" (port 0: a free one); gives the address it has.

    Raises:
        OSError: The port is taken.
    """
    host, _, port = address.rpartition(":")
    server, _thread = start_http_server(int(port), addr=host or "127.0.0.1")
    return f"{host or '127.0.0.1'}:{server.server_port}"
