"""Whole topics read from their beginning, outside of any group: what labels and control are read with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamad.errors import StreamadError, WorldError
from streamad_connectors.kafka.connection import (
    PATIENCE,
    Right,
    check_reachable,
    connect,
    lacking,
    streamad_error,
    unreached,
)
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings

ALONE: dict[str, Any] = {
    "group.id": "streamad",  # librdkafka wants one of every consumer; who only assigns needs no rights on it
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
}
"""Settings of a consumer in no group, which goes nowhere that it was not sent to."""

_WAIT_MS = 100
"""A broker answers a fetch when there is something, or after this time."""

_TURN = 0.05
_ATTEMPT = 1.0
_AT_ONCE = 10_000
_SILENCE = 2.0
"""Seconds of reading until it is said how far it came."""

_log = structlog.get_logger(__name__)


class TopicReader:
    """Reads topics of one partition each, committed messages only. Used by one thread at a time."""

    def __init__(self, options: KafkaClient, folder: Path, topics: Sequence[str]) -> None:
        """Connects with the first call. Raises `UserError` for settings that librdkafka refuses."""
        self._options = options
        self._settings = consumer_settings(options, folder) | ALONE | {"fetch.wait.max.ms": _WAIT_MS}
        self._connection = connect(options, Consumer, self._settings)
        self._absences = options.absence.ended
        self._next = dict.fromkeys(topics, 0)
        self._begun = False

    def read_to_end(self) -> list[Message]:
        """What has come up to now, each topic's messages in order: the first time, all that there is.

        Raises `WorldError` where no broker answers for `PATIENCE` seconds, and what `poll` raises.
        """
        if not self._begun:
            check_reachable(self._connection, [*self._next])
            self._connection.client.assign([TopicPartition(t, 0, OFFSET_BEGINNING) for t in self._next])
            self._begun = True
        ends = {topic: self._end(topic) for topic in self._next}
        found: list[Message] = []
        began = told = heard = time.monotonic()
        while any(self._next[topic] < end for topic, end in ends.items()):
            before = dict(self._next)
            found += self._take(_TURN)
            now = time.monotonic()
            heard = now if self._next != before else heard
            if now - heard > PATIENCE:
                raise unreached(self._connection.events, PATIENCE)
            if now - told > _SILENCE:
                told = now
                _log.info("reading_topics", messages=len(found), seconds=round(now - began))
        return found

    def poll(self) -> list[Message]:
        """What is here by now; never blocks.

        Raises `UserError` for rights that are missing, and `WorldError` for a topic that was made anew or shortened.
        """
        if self._absences != self._options.absence.ended:
            self._reconnect()
        return self._take(0)

    def _reconnect(self) -> None:
        """Go on with another client: one that was told of no brokers may never find any again (librdkafka's 5301)."""
        self._absences = self._options.absence.ended
        self._connection.client.close()
        self._connection = connect(self._options, Consumer, self._settings)
        self._connection.client.assign(
            [TopicPartition(topic, 0, next_) for topic, next_ in self._next.items()]
        )

    def close(self) -> None:
        """Give back the connection."""
        self._connection.client.close()

    def _end(self, topic: str) -> int:
        """Where the first message that is not committed is, or will be. A broker that comes back is waited for."""
        place, deadline = TopicPartition(topic, 0), time.monotonic() + PATIENCE
        while True:
            try:
                return self._connection.client.get_watermark_offsets(place, timeout=_ATTEMPT)[1]
            except KafkaException as failed:
                error = failed.args[0]
            if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise self._trouble(error, topic)
            if time.monotonic() > deadline:  # without a broker even a topic that we know is called unknown
                raise unreached(self._connection.events, PATIENCE)
            time.sleep(_TURN)

    def _take(self, timeout: float) -> list[Message]:
        met = self._connection.client.consume(_AT_ONCE, timeout)
        return [message for message in met if self._is_record(message)]

    def _is_record(self, message: Message) -> bool:
        """Whether it is one, rather than news. Raises what bad news means."""
        error, topic, offset = message.error(), message.topic(), message.offset()
        if topic is None or offset is None:  # of a group: we are in none
            return False
        if error is None:
            self._connection.events.answered()
            self._next[topic] = offset + 1
        elif error.name() == "_PARTITION_EOF":
            self._next[topic] = offset
        else:
            raise self._trouble(error, topic)
        return error is None

    def _trouble(self, error: KafkaError, topic: str) -> StreamadError:
        if error.name() == "_AUTO_OFFSET_RESET":
            return WorldError(f"topic {topic} was made anew, or lost what was not read yet: start again")
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return lacking(Right("Read", "topic", topic), self._connection.user)
        return streamad_error(error, f"reading topic {topic}", self._connection.events)
