"""An artifact's chunks, fetched by their places, on a thread that nobody waits for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streamad.errors import StreamadError
from streamad_connectors.kafka.chunks import DamagedError, Description, join
from streamad_connectors.kafka.connection import (
    PATIENCE,
    Connection,
    Right,
    connect,
    lacking,
    streamad_error,
    unreached,
)
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings
from streamad_connectors.kafka.topic_reader import ALONE

_TURN = 0.1
_SETTLING = 2.0
"""Seconds until a chunk that is not there counts as lost: after a change of leaders a broker knows its end late."""

_NOT_THERE = {"_PARTITION_EOF", "_AUTO_OFFSET_RESET"}


class Fetcher:
    """Fetches artifacts of a models' topic one after the other."""

    def __init__(self, options: KafkaClient, folder: Path, topic: str) -> None:
        """Connects when something is to be fetched."""
        # What is promoted is committed, and its checksums say that it is the right thing. Committed messages only
        # would have to wait for the broker to write a transaction's end on this topic too.
        self._settings = (
            consumer_settings(options, folder)
            | ALONE
            | {"isolation.level": "read_uncommitted", "queued.min.messages": 16}
        )
        self._options, self._topic = options, topic
        self._thread = ThreadPoolExecutor(1, "fetching")
        self._stop = Event()

    def fetch(self, description: Description) -> Future[dict[str, bytes]]:
        """The files.

        Raises `DamagedError` where they are not there as described, `WorldError` where no broker answers for `PATIENCE`
        seconds, `UserError` for rights that are missing, and `CancelledError` after `close`.
        """
        return self._thread.submit(self._fetched, description)

    def close(self) -> None:
        """Give up what is under way."""
        self._stop.set()
        self._thread.shutdown(cancel_futures=True)

    def _fetched(self, description: Description) -> dict[str, bytes]:
        connection = connect(self._options, Consumer, self._settings)
        try:
            return join(description, self._chunks(connection, description.offsets))
        finally:
            connection.client.close()

    def _chunks(self, connection: Connection[Consumer], offsets: Sequence[int]) -> Iterator[bytes]:
        expected = None
        for offset in offsets:
            if offset != expected:
                self._go_to(connection, offset)
            yield self._chunk(connection, offset)
            expected = offset + 1

    def _go_to(self, connection: Connection[Consumer], offset: int) -> None:
        connection.client.assign([TopicPartition(self._topic, 0, offset)])

    def _chunk(self, connection: Connection[Consumer], offset: int) -> bytes:
        """The message at an offset, to which the consumer was sent or which comes next."""
        began = time.monotonic()
        while not self._stop.is_set():
            message = connection.client.poll(_TURN)
            waited = time.monotonic() - began
            if message is None and waited > PATIENCE:
                raise unreached(connection.events, PATIENCE)
            if message is None or message.topic() is None:  # of a group: we are in none
                continue
            if (error := message.error()) is None:
                connection.events.answered()
                return _content(message, offset)
            if error.name() not in _NOT_THERE:
                raise self._trouble(error, connection)
            if waited > _SETTLING:
                raise DamagedError("a chunk of it is not there")
            self._go_to(connection, offset)
        raise CancelledError

    def _trouble(self, error: KafkaError, connection: Connection[Consumer]) -> StreamadError:
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return lacking(Right("Read", "topic", self._topic), connection.user)
        return streamad_error(error, f"reading topic {self._topic}", connection.events)


def _content(message: Message, offset: int) -> bytes:
    value = message.value()
    if message.offset() != offset or value is None:
        raise DamagedError("a chunk of it was removed")
    return value
