"""Runs flows over a blocking channel."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from triptych.client.channel import credentials_metadata, open_channel
from triptych.client.failures import error_of
from triptych.client.steps import Call, Flow, Pause, Step, Work
from triptych.client.stubs import stubs_on
from triptych.core.errors import TriptychError

ResultT = TypeVar("ResultT")


class BlockingRunner:
    """The connection of a Client and what it does with steps.

    Args:
        target: As `Client` says.
        api_key: Key of the caller; empty: none is sent.
    """

    def __init__(self, target: str, api_key: str) -> None:
        self.target = target
        self._metadata = credentials_metadata(api_key)
        self._channel = open_channel(grpc, target)
        self._stubs = stubs_on(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # An interrupt in the middle of gRPC's own code can leave a call that nobody ends; close would wait for it.
            threading.Thread(target=self.close, daemon=True).start()
        else:
            self.close()

    def close(self) -> None:
        """Closes the connection; calls that still run end with CANCELLED."""
        self._channel.close()

    def _run(self, flow: Flow[ResultT]) -> ResultT:
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._do(step)
                except TriptychError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: ResultT = end.value
            return result

    def _do(self, step: Step) -> Any:
        if isinstance(step, Work):
            return step.run()
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        method = getattr(self._stubs[step.service], step.method)
        try:
            if isinstance(step, Call):
                return method(step.request, timeout=step.timeout_s, metadata=self._metadata)
            for message in method(step.request, timeout=step.timeout_s, metadata=self._metadata):
                step.sink(message)
            return None
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error
