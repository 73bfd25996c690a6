"""Meters of memory: real processes on the host, and injected figures of a GPU."""

import gc
import mmap
import os
import subprocess
import sys
import threading

import pytest

from triptych.workers.memory_meters import (
    ProcessMemory,
    SampledCudaMemory,
    TorchCudaMemory,
    most_resident_bytes,
    resident_bytes,
)

MIB = 1 << 20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's figures are Linux'")

# A line in: takes so many MiB, then as many more as the second number says, which stay; answers when done.
HUNGRY = """
import mmap, sys
kept = []
for line in sys.stdin:
    peak, stays = map(int, line.split())
    for size, where in ((peak, []), (stays, kept)):
        if size:
            block = mmap.mmap(-1, size << 20)
            for page in range(0, size << 20, 4096):
                block[page] = 1
            where.append(block)
    del block, where
    print("done", flush=True)
"""


@pytest.fixture
def hungry():
    with subprocess.Popen(
        [sys.executable, "-c", HUNGRY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def take(peak_mib, stays_mib=0):
            process.stdin.write(f"{peak_mib} {stays_mib}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"

        take.pid = process.pid
        take(1)
        yield take
        process.stdin.close()
        process.wait(60)


def fill(mib):
    """Takes so much of the system and gives it back; the heap would perhaps use again what earlier tests left there."""
    with mmap.mmap(-1, mib * MIB) as pages:
        for start in range(0, mib * MIB, mmap.PAGESIZE):
            pages[start] = 1


def test_the_peak_of_a_batch_in_this_process_is_seen_though_it_is_over():
    meter = ProcessMemory()
    gc.collect()  # models of earlier tests that were let go meanwhile would count against it
    assert meter.begin()
    fill(80)
    assert 79 * MIB < meter.taken_bytes() < 100 * MIB
    assert meter.begin(), "the next one begins at nothing"
    assert meter.taken_bytes() < 20 * MIB
    assert (meter.kept_bytes(), meter.alone) == (0, False)


def test_the_most_that_this_process_held_outlives_the_measurement_of_batches():
    gc.collect()
    before = resident_bytes(os.getpid())
    fill(120)
    assert ProcessMemory().begin()
    assert most_resident_bytes() > before + 110 * MIB


def test_the_peak_of_a_batch_in_another_process_counts_with_what_it_had_kept(hungry):
    meter = ProcessMemory(lambda: hungry.pid)
    meter.rest()
    assert meter.begin()
    hungry(60, stays_mib=30)
    assert 89 * MIB < meter.taken_bytes() < 100 * MIB
    assert 29 * MIB < meter.kept_bytes() < 40 * MIB
    assert meter.begin()
    hungry(50)
    assert 79 * MIB < meter.taken_bytes() < 90 * MIB
    assert meter.alone


def test_a_process_that_is_gone_cannot_be_measured():
    with subprocess.Popen(["true"]) as process:
        process.wait(60)
    meter = ProcessMemory(lambda: process.pid)
    assert not meter.begin()
    assert (meter.taken_bytes(), meter.kept_bytes(), resident_bytes(process.pid)) == (0, 0, 0)


def test_the_machine_has_at_least_what_this_process_takes():
    assert ProcessMemory().total_bytes() > resident_bytes(os.getpid()) > 10 * MIB


class TorchCuda:
    """Stands in for `torch.cuda`."""

    def __init__(self):
        self.allocated = self.most = 0

    def allocate(self, size_bytes):
        self.allocated += size_bytes
        self.most = max(self.most, self.allocated)

    def memory_allocated(self):
        return self.allocated

    def max_memory_allocated(self):
        return self.most

    def reset_peak_memory_stats(self):
        self.most = self.allocated

    def mem_get_info(self):
        return 24_000 - self.allocated, 24_000


def test_what_torch_took_of_a_gpu_is_its_allocators_peak_over_what_was_there():
    cuda = TorchCuda()
    meter = TorchCudaMemory(cuda)
    cuda.allocate(5_000)
    assert meter.begin()
    cuda.allocate(3_000)
    cuda.allocate(-2_500)
    assert (meter.taken_bytes(), meter.total_bytes(), meter.device) == (3_000, 24_000, "cuda")
    assert meter.begin()
    assert meter.taken_bytes() == 0


def test_a_gpus_free_memory_is_looked_at_all_the_time():
    free, looked = [10_000], threading.Semaphore(0)

    def memory():
        looked.release()
        return free[0], 12_000

    meter = SampledCudaMemory(memory)
    assert meter.begin()
    looked.acquire(timeout=60)
    free[0] = 7_000
    for _ in range(3):
        looked.acquire(timeout=60)
    free[0] = 9_000
    assert (meter.taken_bytes(), meter.total_bytes()) == (3_000, 12_000)
    assert not any(thread.name == "memory meter" for thread in threading.enumerate())


def test_where_nobody_tells_of_the_gpu_nothing_is_measured():
    meter = SampledCudaMemory(None)
    assert not meter.begin()
    assert meter.total_bytes() == 0
