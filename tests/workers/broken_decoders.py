"""A fork server whose decoders break on some pages of a PDF, each as a library might; the program of a ForkServer."""

import os
import signal
import sys
import time
from pathlib import Path

from triptych.workers.media import fork_server_process
from triptych.workers.media.pdf import PdfPages

CRASHES, SLEEPS, COMPUTES, EATS, WRITES, LEAVES, IS_BUGGY = range(2, 9)


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def sleep():
    time.sleep(3600)


def compute():
    while True:
        pass


def eat():
    eaten = []
    while True:
        eaten.append(bytearray(16 << 20))


def write():
    Path("written").write_bytes(b"from within")


def leave():
    os._exit(0)


def be_buggy():
    raise KeyError("a bug")


BREAKING = {
    CRASHES: crash, SLEEPS: sleep, COMPUTES: compute, EATS: eat, WRITES: write, LEAVES: leave, IS_BUGGY: be_buggy,
}  # fmt: skip


class BrokenPages(PdfPages):
    """Breaks instead of drawing."""

    def pixels(self, page_number, *, dpi):
        BREAKING.get(page_number, lambda: None)()
        return super().pixels(page_number, dpi=dpi)


if __name__ == "__main__":
    fork_server_process.decoding.PdfPages = BrokenPages
    fork_server_process.main(int(sys.argv[1]))
