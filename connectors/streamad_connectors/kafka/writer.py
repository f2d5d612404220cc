"""What writes alerts: a producer, its patience, and what its failures mean."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as Delivery

from streamad.errors import CommitAbortedError, UserError
from streamad_connectors.kafka.connection import Connection, connect, kafka_errors, streamad_error
from streamad_connectors.kafka.messages import Limits, Message
from streamad_connectors.kafka.settings import KafkaClient

COMMIT_SECONDS = 7.0
"""All waiting of one commit."""
_TURN = 0.05
_BATCH_BYTES = 1_000_000
_DOING = "writing alerts"


class Deadline:
    """One for all waiting of a call."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, and never none of them, since some calls take 0 for ever."""
        return max(0.01, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether to give up."""
        return time.monotonic() >= self._end


class Writer(ABC):
    """A producer, what it may write, and what its failures mean."""

    def __init__(
        self,
        options: KafkaClient,
        settings: dict[str, Any],
        limits: Limits,
        on_step: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """`settings` are librdkafka's, as `settings.producer_settings` makes them; `on_step` is told each step done."""
        self._options, self._limits, self._step = options, limits, on_step
        self._settings = settings | {"delivery.report.only.error": True, "on_delivery": self._delivered}
        self._connection: Connection[Producer] | None = None
        self._failed: KafkaError | None = None
        self._refused: set[str] = set()  # topics that found messages too large

    def open(self, seconds: float) -> None:
        """Be ready within so many seconds. Raises `UserError` and `WorldError`."""
        with kafka_errors(_DOING, self._made().events):
            self._producer(Deadline(seconds))

    @abstractmethod
    def move(self, messages: Iterable[Message], offsets: list[TopicPartition], metadata: object) -> None:
        """Write all and commit the offsets, in 7 s at most; `metadata` is the group's, as of before.

        Raises `CommitAbortedError` where it may be tried again, and `UserError` where that would not help.
        """

    def close(self) -> None:
        """Give up what is under way, and the connection."""
        self._connection = None

    def _made(self) -> Connection[Producer]:
        if self._connection is None:
            sizes = {
                "message.max.bytes": self._limits.largest,
                "batch.size": min(self._settings.get("batch.size", _BATCH_BYTES), self._limits.smallest),
            }
            self._connection = connect(self._options, Producer, self._settings | sizes)
        return self._connection

    def _producer(self, deadline: Deadline) -> Producer:
        """The client, ready to write. Raises `KafkaException`."""
        del deadline
        return self._made().client

    def _write(self, producer: Producer, messages: Iterable[Message], deadline: Deadline) -> None:
        """Hand messages to the client, waiting where its queue is full. Raises `KafkaException`."""
        self._failed = None
        for message in messages:
            while not _taken(producer, message):
                producer.poll(_TURN)
                if deadline.passed:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the queue stays full"))  # noqa: SLF001  # its public name

    def _delivered(self, error: KafkaError | None, message: Delivery) -> None:
        """Librdkafka's delivery report, of failures only."""
        if error is None:
            return
        if error.name() == "MSG_SIZE_TOO_LARGE":
            self._refused.add(str(message.topic()))
        self._failed = self._failed or error

    def _meaning(self, error: KafkaError) -> CommitAbortedError | UserError:
        """What trying again would not mend is the user's; all else is tried again."""
        if error.name() == "OFFSET_METADATA_TOO_LARGE":
            return UserError(
                "how far each file was read takes more room than brokers keep with an offset: set "
                "offset.metadata.max.bytes higher there, or read fewer files"
            )
        doing = f"writing to {', '.join(self._limits.topics)}" if "TOPIC" in error.name() else _DOING
        meant = streamad_error(error, doing, self._made().events)
        return meant if isinstance(meant, UserError) else CommitAbortedError(str(meant))

    def _shrink(self) -> None:
        """Write less into one message from here on, and into one batch of a new producer. Raises `UserError`."""
        if self._refused:
            self.close()
        while self._refused:
            self._limits.halve(self._refused.pop())


def _taken(producer: Producer, message: Message) -> bool:
    """Whether the client's queue had room."""
    try:
        producer.produce(message.topic, message.value, message.key, headers=message.headers)
    except BufferError:
        return False
    return True
