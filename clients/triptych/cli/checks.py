"""What `triptych doctor` looks at: each check says ok, warn or fail, what it saw, and what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from triptych.core.room import free_disk_bytes, free_memory_bytes

if TYPE_CHECKING:
    from triptych.core.settings import Settings

GIB = 1024**3
EXTRAS = {
    "service": ("celery", "redis", "prometheus_client", "grpc_health", "grpc_reflection", "jsonschema", "uvloop"),
    "worker": ("numpy", "PIL", "pypdfium2", "rapidfuzz"),
    "speech": ("faster_whisper", "ctranslate2"),
    "documents": ("docx", "pptx", "openpyxl", "lxml", "av"),
    "ocr": ("onnxruntime", "cv2", "pyclipper"),
    "vision": ("torch", "transformers", "gguf"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the report."""

    name: str
    level: Literal["ok", "warn", "fail"]
    message: str
    hint: str = ""


def all_checks(settings: Settings) -> Iterator[Check]:
    """Yields every check."""
    yield python_check()
    yield settings_check(settings)
    yield from extras_checks()
    yield from weights_checks(settings)
    yield policy_check(settings)
    yield redis_check(settings)
    yield port_check(settings)
    yield folder_check(settings)
    yield disk_check(settings)
    yield blobs_check(settings)
    yield memory_check()
    yield gpu_check(settings)


def python_check() -> Check:
    """Whether this Python is one that is tested."""
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check(name="python", level="ok", message=version)
    return Check(name="python", level="fail", message=f"{version} is not supported", hint="use Python 3.11 to 3.13")


def settings_check(settings: Settings) -> Check:
    """Whether every TRIPTYCH_ variable is a setting: one with a slip of the pen would be passed over in silence."""
    # Not settings: what tells a process of the stack apart, see docs/cli.md.
    known = {f"TRIPTYCH_{name.upper()}" for name in type(settings).model_fields} | {
        "TRIPTYCH_READY_FILE",
        "TRIPTYCH_PARENT_FD",
    }
    unknown = sorted(name for name in os.environ if name.startswith("TRIPTYCH_") and name not in known)
    if unknown:
        message = f"{', '.join(unknown)} is no setting" if len(unknown) == 1 else f"no settings: {', '.join(unknown)}"
        return Check(name="settings", level="warn", message=message, hint="`.env.example` lists them all")
    return Check(name="settings", level="ok", message="every TRIPTYCH_ variable is known")


def extras_checks() -> Iterator[Check]:
    """Whether the packages of each extra are here."""
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            hint = f"pip install 'triptych[{extra}]' (or 'triptych[all]' for everything)"
            yield Check(name=f"extra {extra}", level="warn", message=f"no {', '.join(missing)}", hint=hint)
        else:
            yield Check(name=f"extra {extra}", level="ok", message="installed")


def weights_checks(settings: Settings) -> Iterator[Check]:
    """Whether the weights of the default models are here."""
    from triptych.core.catalog import Catalog
    from triptych.core.errors import TriptychError

    try:
        catalog = Catalog.load(settings)
        for name in settings.default_models:
            if catalog.ready(name):
                yield Check(name=f"weights {name}", level="ok", message=f"in {settings.models_dir}")
            else:
                hint = "`triptych models pull` (`triptych up` does it too)"
                yield Check(name=f"weights {name}", level="warn", message="not here", hint=hint)
    except TriptychError as error:
        yield Check(name="weights", level="fail", message=error.message, hint="correct TRIPTYCH_MODELS_FILE")


def policy_check(settings: Settings) -> Check:
    """What may leave to models outside."""
    from triptych.core.catalog import Catalog
    from triptych.core.errors import TriptychError
    from triptych.core.policy import CLASSES, Policy

    try:
        policy = Policy.load(settings, Catalog.load(settings))
    except TriptychError as error:
        return Check(name="policy", level="fail", message=error.message, hint="correct TRIPTYCH_POLICY_FILE")
    rules = [
        f"{tenant}'s {name} data to {', '.join(rule.models)}"
        for tenant, each in policy.tenants.items()
        for name in CLASSES
        if (rule := getattr(each, name, None))
    ]
    return Check(name="policy", level="ok", message="; ".join(rules) or "nothing leaves this deployment")


def redis_check(settings: Settings) -> Check:
    """Whether there is a Redis-protocol server to use or to start."""
    from triptych.cli.stack import valkey
    from triptych.core.errors import PreconditionFailed

    if not settings.embedded_redis:
        shown = settings.redis_url.rpartition("@")[2].removeprefix("redis://")
        if not settings.redis_url.startswith("redis://"):
            return Check(name="redis", level="ok", message=f"{shown}, not tried: only redis:// is")
        if valkey.answers(settings.redis_url, timeout_s=2):
            return Check(name="redis", level="ok", message=f"{shown} answers")
        hint = "start it, or unset TRIPTYCH_REDIS_URL: then `triptych up` brings its own"
        return Check(name="redis", level="fail", message=f"{shown} does not answer", hint=hint)
    try:
        binary = valkey.find_binary()
    except PreconditionFailed as error:
        return Check(name="redis", level="fail", message=error.message, hint=error.metadata["hint"])
    if not os.access(binary, os.X_OK):
        return Check(name="redis", level="fail", message=f"{binary} may not be run", hint=f"chmod +x {binary}")
    return Check(name="redis", level="ok", message=f"`triptych up` starts {binary}")


def port_check(settings: Settings) -> Check:
    """Whether the services can listen."""
    from triptych.cli.stack.launcher import running
    from triptych.cli.stack.ports import is_free, split_address

    record = running(settings.state_dir)
    if record is not None:
        return Check(name="port", level="ok", message=f"a stack runs at {record.target}")
    host, port = split_address(settings.listen)
    if not port or is_free(host, port):
        return Check(name="port", level="ok", message=f"{settings.listen} is free")
    if "listen" in settings.model_fields_set:
        hint = "stop who listens there, or change TRIPTYCH_LISTEN"
        return Check(name="port", level="fail", message=f"{settings.listen} is taken", hint=hint)
    hint = "`triptych up` takes another port and says which"
    return Check(name="port", level="warn", message=f"{settings.listen} is taken", hint=hint)


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def folder_check(settings: Settings) -> Check:
    """Whether the state folder can be written."""
    if os.access(_existing(settings.state_dir), os.W_OK):
        return Check(name="state folder", level="ok", message=str(settings.state_dir))
    message = f"{settings.state_dir} cannot be written"
    return Check(name="state folder", level="fail", message=message, hint="set TRIPTYCH_STATE_DIR")


def disk_check(settings: Settings) -> Check:
    """Whether weights, blobs and logs have room."""
    rooms = {folder: free_disk_bytes(folder) for folder in (settings.state_dir, settings.models_dir)}
    folder, free = min(rooms.items(), key=lambda item: item[1])
    message = f"{free / GIB:.1f} GiB free at {folder}"
    if free >= 5 * GIB:
        return Check(name="disk", level="ok", message=message)
    level: Literal["warn", "fail"] = "warn" if free >= GIB else "fail"
    return Check(
        name="disk", level=level, message=message, hint="the default weights need 2 GiB, pulling them twice that"
    )


def blobs_check(settings: Settings) -> Check:
    """Whether the services would take new bytes."""
    free, kept = free_disk_bytes(settings.blobs_path), settings.min_free_disk_bytes
    message = f"{free / GIB:.1f} GiB free at {settings.blobs_path}, the last {kept / GIB:.1f} take no new bytes"
    if free > kept or settings.blob_store == "redis":
        return Check(name="blobs", level="ok", message=message)
    return Check(name="blobs", level="fail", message=message, hint="make room, or lower TRIPTYCH_MIN_FREE_DISK_BYTES")


def memory_check() -> Check:
    """Whether the workers fit into memory."""
    free = free_memory_bytes()
    if free is None:  # macOS does not say what is free
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    message = f"{free / GIB:.1f} GiB"
    if free >= 4 * GIB:
        return Check(name="memory", level="ok", message=message)
    return Check(name="memory", level="warn", message=message, hint="all four workers together need about 4 GiB")


def gpu_check(settings: Settings) -> Check:
    """Whether the driver shows a GPU."""
    wanted = settings.device == "cuda"
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        try:
            said = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            return Check(name="gpu", level="warn", message="nvidia-smi does not answer", hint="check the driver")
        names = [line.partition(" (UUID")[0] for line in said.stdout.splitlines() if line.startswith("GPU")]
        if names:
            return Check(name="gpu", level="ok", message="; ".join(names))
    if wanted:
        return Check(
            name="gpu", level="fail", message="none is visible", hint="TRIPTYCH_DEVICE=auto or cpu works without"
        )
    return Check(name="gpu", level="ok", message="none; the engines use the CPU")
