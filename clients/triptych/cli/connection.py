"""Where the services are, and a client connected to them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triptych.client import AsyncClient, Client
    from triptych.core.settings import Settings
    from triptych.v1.job_pb2 import Job


def load_settings(state_dir: Path | None = None) -> Settings:
    """Reads the settings; a folder given on the command line wins.

    Raises:
        FieldInvalid: A TRIPTYCH_ variable has a wrong value.
    """
    from pydantic import ValidationError

    from triptych.core.errors import FieldInvalid
    from triptych.core.settings import Settings

    try:
        return Settings(state_dir=state_dir.resolve()) if state_dir else Settings()
    except ValidationError as error:
        wrong = error.errors()[0]
        name = "_".join(["TRIPTYCH", *(str(part).upper() for part in wrong["loc"][:1])])
        raise FieldInvalid(name, wrong["msg"]) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the services are, and how we know.

    Attributes:
        found_by: "option", "setting", "stack" or "default".
    """

    target: str
    found_by: str


def find_services(target: str, settings: Settings) -> Address:
    """Gives the address: of the option, else of TRIPTYCH_TARGET, else of the stack that runs here, else the default."""
    if target:
        return Address(target=target, found_by="option")
    if "target" in settings.model_fields_set:
        return Address(target=settings.target, found_by="setting")
    from triptych.cli.stack.launcher import running

    record = running(settings.state_dir)
    if record is not None and record.target:
        return Address(target=record.target, found_by="stack")
    return Address(target=settings.target, found_by="default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the command line says about the services; what is left out, the settings or the running stack say.

    Attributes:
        target: Address.
        api_key: Key of the caller.
        state_dir: Folder of a stack.
    """

    target: str = ""
    api_key: str = ""
    state_dir: Path | None = None

    def connect(self) -> Client:
        """Gives a client for the services; nothing is sent yet."""
        target, api_key = self._found()
        from triptych.client import Client

        return Client(target, api_key=api_key)

    def connect_async(self) -> AsyncClient:
        """Gives a client for the event loop that runs, which retries nothing itself; nothing is sent yet."""
        target, api_key = self._found()
        from triptych.client import AsyncClient

        return AsyncClient(target, api_key=api_key, retries=False)

    def _found(self) -> tuple[str, str]:
        # gRPC's own log of each failed handshake would bury the one sentence that people get.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        settings = load_settings(self.state_dir)
        return find_services(self.target, settings).target, self.api_key or settings.api_key


def whole_job(client: Client, name: str) -> Job:
    """Gives a job with its result, however large that is."""
    job = client.get_job(name)
    if job.WhichOneof("outcome") == "result_blob":
        job.result.CopyFrom(client.result(job))
    return job
