"""Runs flows over a channel of grpc.aio."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from triptych.client.channel import credentials_metadata, open_channel
from triptych.client.failures import error_of
from triptych.client.steps import Call, Flow, Pause, Step, Work
from triptych.client.stubs import stubs_on
from triptych.core.errors import TriptychError

ResultT = TypeVar("ResultT")


class AsyncRunner:
    """The connection of an AsyncClient and what it does with steps.

    Args:
        target: As `AsyncClient` says.
        api_key: Key of the caller; empty: none is sent.
        retries: As `AsyncClient` says.
    """

    def __init__(self, target: str, api_key: str, *, retries: bool = True) -> None:
        self.target = target
        self._metadata = credentials_metadata(api_key)
        self._channel = open_channel(grpc.aio, target, retries=retries)
        self._stubs = stubs_on(self._channel)
        self._sending_channel: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; calls that still run end with CANCELLED."""
        await self._channel.close()
        if self._sending_channel is not None:
            await asyncio.to_thread(self._sending_channel.close)

    async def _run(self, flow: Flow[ResultT]) -> ResultT:
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._do(step)
                except TriptychError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: ResultT = end.value
            return result

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Work):
            return await asyncio.to_thread(step.run)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        method = getattr(self._stubs[step.service], step.method)
        try:
            if isinstance(step, Call):
                if not isinstance(step.request, Message):
                    return await self._send(step)
                return await method(step.request, timeout=step.timeout_s, metadata=self._metadata)
            async for message in method(step.request, timeout=step.timeout_s, metadata=self._metadata):
                step.sink(message)
            return None
        except grpc.RpcError as error:
            raise error_of(error, self.target) from error

    async def _send(self, step: Call) -> Any:
        """Streams requests over a channel of blocking gRPC, whose future is awaited.

        grpc.aio (1.85.1) loses the server's answer if it comes while we still send: INTERNAL, "Internal error from
        Core". That is the usual case here: known bytes are answered at once.
        """
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        method = getattr(self._sending_stubs()[step.service], step.method)
        sending = method.future(step.request, timeout=step.timeout_s, metadata=self._metadata)
        sending.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
        try:
            await done.wait()
        finally:
            sending.cancel()  # without effect once it is done
        return sending.result()

    def _sending_stubs(self) -> dict[str, Any]:
        """Stubs of blocking gRPC, for calls that stream requests."""
        if self._sending_channel is None:
            self._sending_channel = open_channel(grpc, self.target)
        return stubs_on(self._sending_channel)
