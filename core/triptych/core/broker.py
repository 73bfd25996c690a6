"""The Celery app: queues, lanes and how messages survive, the same on both sides."""

from __future__ import annotations

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from triptych.core.errors import BackendUnavailable
from triptych.core.jobs import Message
from triptych.core.records import KINDS
from triptych.core.settings import Settings

TASK = "triptych.run_job"
# Redis priorities, 0 first: one list per step, so a lane is a list that is drained before the next.
LANE_PRIORITIES = (0, 3, 6)


def celery_app(settings: Settings) -> Celery:
    """Makes the app. Messages carry a job id and nothing else; results never travel through Celery."""
    app = Celery("triptych", broker=settings.redis_url, backend=None, set_as_current=False)
    app.conf.update(
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
        broker_transport_options={
            "global_keyprefix": "triptych:broker:",
            "priority_steps": list(LANE_PRIORITIES),
            "queue_order_strategy": "priority",
            # Redelivery is not what saves a lost job: its lease is. So this may be long.
            "visibility_timeout": 6 * 3600,
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

    def publish(self, message: Message) -> None:
        """Tells the workers of a kind that a job waits.

        Raises:
            BackendUnavailable: The broker cannot be reached. The job is recorded: the sweeper sends it later.
        """
        try:
            self._app.send_task(
                TASK,
                (message.job_id,),
                queue=message.kind,
                priority=LANE_PRIORITIES[message.lane],
                retry=False,
            )
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
