"""What a worker counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from triptych.workers.batcher import BatchReport
from triptych.workers.memory_meters import most_resident_bytes

ATTEMPTS = Counter("triptych_attempts", "Attempts that ended, by how", ["kind", "outcome"])
QUEUE_SECONDS = Histogram(
    "triptych_queue_seconds", "From acceptance to claim", ["kind"], buckets=(0.01, 0.05, 0.2, 1, 5, 20, 60, 300, 3600)
)
UNITS = Counter(
    "triptych_units", "Units found, joined while another job computed them, or computed", ["kind", "outcome"]
)
RUNNING = Gauge("triptych_running_jobs", "Jobs that this worker holds", ["kind"])
CANCEL_SECONDS = Histogram(
    "triptych_cancel_seconds", "From the request for cancellation until nothing of the job runs any more", ["kind"],
    buckets=(0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 5, 10, 30),
)  # fmt: skip
BATCH_SIZE = Histogram(
    "triptych_batch_size", "Items in a batch that ran", ["model"], buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
BATCH_SECONDS = Histogram(
    "triptych_batch_seconds", "Time a batch ran", ["model"], buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
)
BATCH_COST = Counter("triptych_batch_cost", "Cost of what ran, in the engine's unit", ["model"])
ITEM_ERRORS = Counter("triptych_item_errors", "Items that failed", ["model"])
OUT_OF_MEMORY = Counter("triptych_out_of_memory", "Batches that did not fit the device and were split", ["model"])
MODEL_BYTES = Gauge("triptych_model_bytes", "Memory that a loaded model takes beside its batches", ["model"])
MODEL_LOADS = Counter("triptych_model_loads", "Times a model was loaded", ["model"])
MODEL_UNLOADS = Counter(
    "triptych_model_unloads", "Times a model was freed: for room, or because nobody used it (idle)", ["model", "reason"]
)
BATCH_CEILING = Gauge(
    "triptych_batch_ceiling", "Cost that batches of a key may reach, where memory ran out", ["model", "key"]
)
BUDGET_BYTES = Gauge("triptych_memory_budget_bytes", "What models and batches may take together", ["device"])
LEASED_BYTES = Gauge("triptych_batch_leased_bytes", "Memory that the running batch is expected to take", ["model"])
LEASE_SECONDS = Histogram(
    "triptych_batch_lease_seconds", "Time a batch waited for memory", ["model"], buckets=(0.001, 0.01, 0.1, 1, 10, 60)
)
OVER_BUDGET = Counter(
    "triptych_over_budget", "Single items that ran although they are expected to exceed the budget", ["model"]
)
MOST_BYTES = Gauge("triptych_most_resident_bytes", "Most resident memory that this worker ever had")
MOST_BYTES.set_function(most_resident_bytes)
RECYCLES = Counter("triptych_worker_recycles", "Times this worker ended itself because its memory passed the bound")
ROUTES = Counter(
    "triptych_routes", "Prompts by who answered: local, or a model outside by name, overflow or escalation", ["route"]
)
REMOTE_CALLS = Counter(
    "triptych_remote_calls", "Attempts at calls of models outside, by how they ended", ["model", "outcome"]
)
REMOTE_SECONDS = Histogram(
    "triptych_remote_seconds", "Time an answer of a model outside took", ["model"],
    buckets=(0.1, 0.3, 1, 2, 5, 10, 30, 60, 120, 300),
)  # fmt: skip
REMOTE_COST = Counter("triptych_remote_cost", "Money that calls of models outside are counted as", ["model"])
CIRCUIT_OPEN = Gauge("triptych_circuit_open", "Whether a server outside is left alone for failing", ["host"])
ENCODER_LOOKS = Counter(
    "triptych_encoder_cache_looks", "Images looked up among those that are encoded, by outcome", ["model", "outcome"]
)
READING_LOOKS = Counter(
    "triptych_reading_looks", "Recognized documents looked up among those kept for further questions", ["outcome"]
)
READING_BYTES = Gauge("triptych_reading_bytes", "Memory that documents kept for further questions take")


def count_reading_look(hit: bool) -> None:
    """Counts one recognized document that was looked up."""
    READING_LOOKS.labels("hit" if hit else "miss").inc()


def count_encoder_look(model: str, hit: bool) -> None:
    """Counts one image that was looked up."""
    ENCODER_LOOKS.labels(model, "hit" if hit else "miss").inc()


def count_batch(report: BatchReport) -> None:
    """Counts one batch."""
    BATCH_SIZE.labels(report.name).observe(report.size)
    BATCH_SECONDS.labels(report.name).observe(report.ran_ms / 1000)
    BATCH_COST.labels(report.name).inc(report.cost)
    ITEM_ERRORS.labels(report.name).inc(report.errors)
    if report.out_of_memory:
        OUT_OF_MEMORY.labels(report.name).inc()
