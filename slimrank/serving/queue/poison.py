"""Take messages from Redis for a worker: a message that cannot be ours is dropped and counted, and stops nothing.

Celery and kombu expect that whoever may write to the broker writes messages as they do. One that is no JSON, lacks a field or an
id raises where nobody catches it: the consumer ends, begins anew, and is given the same message again. Here such a message is
taken off the queue for good.
"""

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

from celery import Celery
from celery.worker.consumer import Consumer
from kombu.transport import redis as kombu_redis

log = logging.getLogger(__name__)

POISON = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of reading a message that no gateway of ours wrote."""
DROP_OPTION = "slimrank_drop"
"""A transport option of kombu: the function to call with a message that was dropped."""


def _drop(options: dict[str, Any], error: Exception) -> None:
    log.error("drop message error=%s: it is not one of ours", type(error).__name__)
    if told := options.get(DROP_OPTION):
        told()


class _Kept(kombu_redis.QoS):
    """What a worker has taken. Kombu would look for messages that nobody acknowledged, under a lock that it gives back by a script.

    Requests are acknowledged on receipt and lost ones are sent again by the gateway, an audit goes on where it is run again, and our
    user of Redis may run no script; so nothing is looked for.
    """

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Give nothing back."""


class _Channel(kombu_redis.Channel):
    """A channel that goes on after what is no JSON."""

    QoS = _Kept

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (RecursionError, ValueError) as error:
            _drop(self.connection.client.transport_options, error)
            raise Empty from error


class _SentinelChannel(kombu_redis.SentinelChannel, _Channel):
    """The same behind Sentinels."""


class _Delivering(kombu_redis.Transport):
    """A transport that goes on after JSON that is no message."""

    Channel = _Channel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        except POISON as error:
            connection: Any = self.client
            _drop(connection.transport_options, error)


class _SentinelDelivering(_Delivering, kombu_redis.SentinelTransport):
    """The same behind Sentinels."""

    Channel = _SentinelChannel


def transport_of(*, has_sentinels: bool) -> type[Any]:
    """Return kombu's transport, made so."""
    return _SentinelDelivering if has_sentinels else _Delivering


class DroppingConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, which goes on after a message that it cannot make a task of."""

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """Return what Celery does with a message."""
        handle = super().create_task_handler(*args, **options)

        def take(message: Any) -> Any:
            try:
                return handle(message)
            except POISON as error:
                _drop(self.app.conf.broker_transport_options, error)
                message.reject_log_error(log, self.connection_errors)

        return take

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Count what is no task; what it holds is not logged."""
        self._refuse(message, "no task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Count a task that is none of ours."""
        self._refuse(message, "unknown task")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Count a task that cannot be one."""
        self._refuse(message, "invalid task")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Count what cannot be decoded."""
        self._refuse(message, "no content of ours")

    def _refuse(self, message: Any, reason: str) -> None:
        _drop(self.app.conf.broker_transport_options, ValueError(reason))
        message.reject_log_error(log, self.connection_errors)


def tell(app: Celery, drop: Callable[[], None]) -> None:
    """Have a function called for each message that is dropped."""
    app.conf.broker_transport_options[DROP_OPTION] = drop
