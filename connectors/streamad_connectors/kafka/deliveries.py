"""Writing to topics before the group's offsets are committed: at least once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from streamad_connectors.kafka.messages import Limits, Message
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.writer import COMMIT_SECONDS, Deadline, Writer


class Committing(Protocol):
    """Who commits offsets by themselves."""

    def commit(self, offsets: list[TopicPartition]) -> None:
        """Commit outside of a transaction. Raises `KafkaException`."""


class Deliveries(Writer):
    """Messages first, then the offsets. What fails between them is read, and written, again."""

    def __init__(
        self,
        options: KafkaClient,
        settings: dict[str, Any],
        limits: Limits,
        member: Committing,
        on_step: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """As `Writer`."""
        super().__init__(options, settings, limits, on_step)
        self._member = member

    def move(self, messages: Iterable[Message], offsets: list[TopicPartition], metadata: object) -> None:
        """See `Writer.move`."""
        del metadata
        deadline = Deadline(COMMIT_SECONDS)
        try:
            producer = self._producer(deadline)
            self._write(producer, messages, deadline)
            self._flush(producer, deadline)
            self._step("written")
            if offsets:
                self._member.commit(offsets)
        except KafkaException as error:
            meant = self._meaning(error.args[0])
            self.close()
            self._shrink()
            raise meant from None
        self._made().events.answered()

    def _flush(self, producer: Producer, deadline: Deadline) -> None:
        """Wait until everything has arrived. Raises `KafkaException`."""
        if producer.flush(deadline.left):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "not everything arrived"))  # noqa: SLF001  # its public name
        if self._failed is not None:
            raise KafkaException(self._failed)
