"""`triptych-worker QUEUE`: serves one queue."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings

from triptych.core.errors import TriptychError
from triptych.core.records import KINDS
from triptych.core.settings import Settings
from triptych.core.supervision import watch_parent
from triptych.core.telemetry import setup_logging

EPILOG = """\
Settings come from TRIPTYCH_* variables: TRIPTYCH_REDIS_URL, TRIPTYCH_MODELS_DIR and the rest of .env.example.
The queue's default model is loaded at start, other models of its kind when they are first wanted.
SIGTERM drains: running jobs are finished for TRIPTYCH_DRAIN_S seconds, then handed back. A worker that has grown beyond
TRIPTYCH_WORKER_MAX_RSS_BYTES drains by itself. Exit codes: 0 drained, 1 could not start, 2 usage, 3 drained to be
started anew.
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a worker until SIGTERM; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="triptych-worker",
        description="Pulls jobs from one queue, batches them across requests and runs them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("queue", choices=sorted(KINDS), help="what this worker does")
    kind = parser.parse_args(argv).queue
    settings = Settings()
    setup_logging(settings)
    # Threads of torch wait by spinning. Beside one busy process that made generating 5 to 9 times slower; spinning for
    # this long only costs 4 % on an idle machine. Read when the OpenMP library is loaded, so before any engine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    watch_parent(settings)
    from celery.platforms import SecurityWarning

    from triptych.workers import heap
    from triptych.workers.runtime import Runtime

    if kind == "ocr":
        heap.return_large_blocks()

    # Celery warns root of pickle; nothing here accepts pickle.
    warnings.simplefilter("ignore", SecurityWarning)

    try:
        return Runtime(settings, kind).run()
    except (TriptychError, OSError) as error:
        logging.getLogger("triptych.worker").error("cannot start: %s", error)  # noqa: TRY400 - one line says it all
        return 1


if __name__ == "__main__":
    sys.exit(main())
