"""A worker of the suite, but for its engine: a toy reads the words of pages at a known speed.

    python tests/toy_worker.py ocr

TOY_BATCH_S and TOY_PAGE_S say how long a batch takes, and each of its pages. Every batch is a line of the file TOY_LOG,
written before it runs. Some words do more than stand on a page: POISON kills the process that reads it, STALL stops the
engine for good, and HANG the thread of its job.
"""

import json
import os
import signal
import sys
import threading
import time

import toy_pages

from triptych.core.catalog import Catalog
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import TEXT_ORIGIN_RECOGNIZED, OcrPage
from triptych.workers import leases
from triptych.workers.__main__ import main
from triptych.workers.engines import registry
from triptych.workers.engines.base import Engine

POISON, STALL, HANG = "poison", "stall", "hang"


class ToyEngine(Engine):
    """Reads pages of `toy_pages`."""

    def __init__(self, name):
        self.model = ModelRef(model=name, revision="1", engine="toy/1")
        self._batch_s, self._page_s = (float(os.environ.get(name, "0")) for name in ("TOY_BATCH_S", "TOY_PAGE_S"))
        # A line is written whole, whoever else writes or dies.
        self._log = os.open(os.environ["TOY_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def load(self):
        """Nothing to load."""

    def run_batch(self, items):
        words = [toy_pages.read(item.pixels) for item in items]
        os.write(self._log, json.dumps({"pid": os.getpid(), "at_s": time.time(), "words": words}).encode() + b"\n")
        if POISON in words:
            os.kill(os.getpid(), signal.SIGKILL)
        if STALL in words:
            threading.Event().wait()
        time.sleep(self._batch_s + self._page_s * len(items))
        return [OcrPage(text=word, text_origin=TEXT_ORIGIN_RECOGNIZED) for word in words]

    def cost(self, item):
        if toy_pages.read(item.pixels) == HANG:
            threading.Event().wait()
        return 1.0


if __name__ == "__main__":
    registry.build = lambda name, _catalog, _settings: ToyEngine(name)
    Catalog.ready = lambda _catalog, _name: True
    leases.HUNG_S = float(os.environ.get("TOY_HUNG_S", leases.HUNG_S))
    sys.exit(main())
