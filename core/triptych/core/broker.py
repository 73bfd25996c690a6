"""The Celery app: one queue a kind, whose messages say that a job of it waits; the same on both sides."""

from __future__ import annotations

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import OperationalError
from kombu.transport import redis as kombu_redis

from triptych.core.errors import BackendUnavailable
from triptych.core.records import KINDS
from triptych.core.settings import Settings

TASK = "triptych.run_next"


class Channel(kombu_redis.Channel):
    """A channel that puts nothing back when it closes.

    kombu 5.7 tries to, over a connection that is gone, and the error ends the worker. A message that is lost with its
    worker is worth nothing anyway: the caretaker sends another.
    """

    do_restore = False


class Transport(kombu_redis.Transport):
    """Redis, with such channels."""

    Channel = Channel


def celery_app(settings: Settings) -> Celery:
    """Makes the app. Messages carry nothing: which job is next is decided when a worker is ready for it."""
    app = Celery("triptych", broker=settings.redis_url, backend=None, set_as_current=False)
    app.conf.update(
        broker_transport=f"{__name__}:Transport",
        task_serializer="json",
        accept_content=["json"],
        task_queues=[Queue(kind) for kind in KINDS],  # type: ignore[no-untyped-call]
        task_create_missing_queues=False,
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_disable_rate_limits=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A Redis that is up and takes no writes (out of memory, disk full, failover) is away, not a reason to end.
        broker_channel_error_retry=True,
        broker_transport_options={
            "global_keyprefix": "triptych:broker:",
            "priority_steps": [0],
            # No message is delivered twice: leases save lost jobs, and the caretaker replaces lost messages.
            "ack_emulation": False,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
        },
    )
    return app


class Broker:
    """Sends messages and counts those that wait. Blocking; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._app = celery_app(settings)
        # Not for the consumer, which waits on purpose: a connection that died without a word must hold nobody up.
        self._app.conf.broker_transport_options["socket_timeout"] = 5

    def publish(self, kind: str) -> None:
        """Tells the workers of a kind that a job waits.

        Raises:
            BackendUnavailable: The broker cannot be reached. The job is recorded: the caretaker sends a message later.
        """
        try:
            self._app.send_task(TASK, (), queue=kind, retry=False)
        except (OperationalError, OSError) as error:
            raise BackendUnavailable("the queue cannot be reached", retry_after_s=1) from error

    def queue_lengths(self) -> dict[str, int]:
        """Gives the number of undelivered messages per kind.

        Raises:
            BackendUnavailable: The broker cannot be reached.
        """
        try:
            with self._app.connection_for_read() as connection:
                channel = connection.default_channel
                return {kind: channel.queue_declare(queue=kind).message_count for kind in KINDS}
        except (OperationalError, OSError) as error:
            raise BackendUnavailable("the queue cannot be reached", retry_after_s=1) from error

    def close(self) -> None:
        """Closes the connections."""
        self._app.close()
