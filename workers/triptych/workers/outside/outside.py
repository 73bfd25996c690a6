"""All models outside that one worker may ask: one event loop, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from triptych.core.catalog import Catalog
from triptych.core.errors import FieldInvalid, JobCancelled, RemoteUnavailable
from triptych.core.policy import Policy
from triptych.core.store import AsyncStore
from triptych.workers import metrics
from triptych.workers.batcher import Done
from triptych.workers.outside import exchange
from triptych.workers.outside.account import Account
from triptych.workers.outside.ask import Ask
from triptych.workers.outside.breaker import Breaker
from triptych.workers.outside.page_reader import PageReader
from triptych.workers.outside.redaction import ReadPages
from triptych.workers.outside.station import RemoteStation

if TYPE_CHECKING:
    from triptych.core.settings import Settings
    from triptych.v1.vision_pb2 import VisionResult

# Pages are redacted and encoded by so many threads; what is recognized in them has its engine's own.
_WORKSHOP_THREADS = 4
_CLOSE_S = 5.0


class Outside:
    """Asks models outside, and knows the policy. Thread-safe.

    Args:
        settings: Name policy, Redis and the OCR model for redaction.
        catalog: Knows the models.

    Raises:
        FieldInvalid: The policy is wrong; names file, line or field.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.policy = Policy.load(settings, catalog)
        self.catalog = catalog
        self._settings = settings
        self._reader = PageReader(settings, catalog)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="outside", daemon=True)
        self._workshop = ThreadPoolExecutor(_WORKSHOP_THREADS, thread_name_prefix="workshop")
        self._submitting = threading.Lock()
        self._stopped = False
        self._stations: dict[str, RemoteStation] = {}
        self._breakers: dict[str, Breaker] = {}

    def start(self) -> None:
        """Starts the loop; nothing is connected to yet."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def stop(self) -> None:
        """Ends the calls that run, tells what came of them, and ends the loop; further calls fail."""
        with self._submitting:
            self._stopped = True
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._workshop.shutdown(wait=False, cancel_futures=True)
        self._reader.stop()

    def submit(self, model: str, ask: Ask) -> Future[Done[VisionResult]]:
        """Asks a model; see `RemoteStation.ask` for what the future may raise.

        Cancelling the future closes the connection; it ends, with JobCancelled, when that is done.
        """
        call = _Call(self._loop)
        with self._submitting:
            if not self._stopped:
                self._loop.call_soon_threadsafe(lambda: call.begin(self._ask(model, ask)))
                return call
        # Not raised: a local answer may end, and ask for help, while the worker stops.
        call.set_exception(RemoteUnavailable("the worker stops", metadata={"model": model, "cause": "stopped"}))
        return call

    def busy(self, model: str) -> bool:
        """Whether one more call of a model would have to wait for another's end. Thread-safe."""
        station = self._stations.get(model)
        return station is not None and station.busy

    # From here on everything happens on the loop.

    async def _open(self) -> None:
        self._http = exchange.client()
        self._store = AsyncStore(self._settings.redis_url)
        self._account = Account(self._store, self._settings.ledger_ttl_s)

    async def _close(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        calls = [task for task in running if task.get_name() == _Call.__name__]
        for task in calls:
            task.cancel()
        if calls:
            await asyncio.wait(calls, timeout=_CLOSE_S)
        await self._account.close(_CLOSE_S)
        await self._http.aclose()
        await self._store.close()

    async def _ask(self, model: str, ask: Ask) -> Done[VisionResult]:
        return await self._station(model).ask(ask)

    def _station(self, name: str) -> RemoteStation:
        if name not in self._stations:
            entry = self.catalog.get(name)
            if entry.remote is None:
                raise FieldInvalid("config.model", f"{name} is not outside")
            host = entry.remote.host
            if host not in self._breakers:
                self._breakers[host] = breaker = Breaker(host)
                metrics.CIRCUIT_OPEN.labels(host).set_function(lambda: breaker.state != "closed")
            self._stations[name] = RemoteStation(
                entry,
                entry.remote,
                self._http,
                self._breakers[host],
                self._account,
                self._workshop,
                self._page_reader,
            )
        return self._stations[name]

    def _page_reader(self, stopped: Callable[[], bool]) -> ReadPages:
        return lambda images: self._reader.read(images, stopped)


class _Call(Future[Any]):
    """A call that runs on the loop. It ends when its task has ended, also if it is cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._unwanted = False

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begins; on the loop."""
        self._task = self._loop.create_task(work, name=type(self).__name__)
        self._task.add_done_callback(self._end)
        if self._unwanted:
            self._task.cancel()

    def cancel(self) -> bool:
        """Has the call end as soon as its connection is closed; see `Future.cancel`."""
        self._unwanted = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        return False

    def _end(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.set_exception(JobCancelled("the job was stopped"))
        elif error := task.exception():
            self.set_exception(error)
        else:
            self.set_result(task.result())
