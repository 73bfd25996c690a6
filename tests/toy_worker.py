"""A worker of the suite, but for its engine: a toy reads the words of pages at a known speed.

    python tests/toy_worker.py ocr

TOY_BATCH_S and TOY_PAGE_S say how long a batch takes, and each of its pages. Every batch is a line of the file TOY_LOG,
written before it runs. With TOY_MAX_PAGES each page takes so much of the process' address space that the system refuses
batches of more; with TOY_LEAK_BYTES so much memory is kept of each. Some words do more than stand on a page: POISON
kills the process that reads it, STALL stops the engine for good, and HANG the thread of its job.
"""

import json
import os
import re
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import toy_pages

from triptych.core.catalog import Catalog
from triptych.v1.common_pb2 import ModelRef
from triptych.v1.ocr_pb2 import TEXT_ORIGIN_RECOGNIZED, OcrPage
from triptych.workers import leases
from triptych.workers.__main__ import main
from triptych.workers.engines import registry
from triptych.workers.engines.base import Engine

POISON, STALL, HANG = "poison", "stall", "hang"
GIB = 1 << 30
PAGE_GIB = 16
"""Address space of one page, none of which is ever touched: much more than all else takes."""


class ToyEngine(Engine):
    """Reads pages of `toy_pages`."""

    def __init__(self, name):
        self.model = ModelRef(model=name, revision="1", engine="toy/1")
        self._batch_s, self._page_s = (float(os.environ.get(name, "0")) for name in ("TOY_BATCH_S", "TOY_PAGE_S"))
        # A line is written whole, whoever else writes or dies.
        self._log = os.open(os.environ["TOY_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def load(self):
        self._kept = []
        if pages := os.environ.get("TOY_MAX_PAGES"):
            taken = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
            room = int((int(pages) + 0.5) * PAGE_GIB * GIB)
            resource.setrlimit(resource.RLIMIT_AS, (taken + room, taken + room))

    def run_batch(self, items):
        words = [toy_pages.read(item.pixels) for item in items]
        os.write(self._log, json.dumps({"pid": os.getpid(), "at_s": time.time(), "words": words}).encode() + b"\n")
        if POISON in words:
            os.kill(os.getpid(), signal.SIGKILL)
        if STALL in words:
            threading.Event().wait()
        if "TOY_MAX_PAGES" in os.environ:
            # By the gigabyte: a system may refuse to promise more than it has in one piece.
            blocks = [np.empty(GIB, np.uint8) for _ in range(PAGE_GIB * len(items))]
            del blocks
        self._kept += [np.ones(int(os.environ.get("TOY_LEAK_BYTES", "0")), np.uint8) for _ in items]
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
