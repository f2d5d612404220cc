"""A look at a topic's newest records: what `streamad init` makes a config of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streamad.errors import InputError, StreamadError, UserError, WorldError
from streamad.records.sample import SAMPLE_LINES, Sample, sample_messages
from streamad_connectors.kafka.connection import (
    Connection,
    Right,
    check_reachable,
    connect,
    kafka_errors,
    lacking,
    streamad_error,
)
from streamad_connectors.kafka.payloads import framing, is_framed
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings
from streamad_connectors.kafka.shares import shares
from streamad_connectors.kafka.topic_reader import ALONE

_SECONDS = 20.0
"""All reading takes no longer."""

_BYTES = 32 << 20
"""More are not kept."""

_ASK_SECONDS = 5.0
_TURN, _PIECE = 0.2, 500

_OVER = {"_PARTITION_EOF", "_AUTO_OFFSET_RESET"}
"""A partition has ended, or the broker has just deleted what was to be read of it."""


def address(rest: str) -> dict[str, Any]:
    """The options of ``kafka://BROKERS/TOPIC``. Raises `UserError`."""
    brokers, _, topic = rest.partition("/")
    if "@" in brokers:
        raise UserError(
            "a URL is no place for a password, which others on this machine could read there: "
            "--set 'source.client.sasl.password=${NAME}' takes it from the environment"
        )
    if not brokers or not topic:
        raise UserError(
            "a topic is named as kafka://HOST:PORT/TOPIC, several brokers with commas between them"
        )
    return {"brokers": brokers, "topic": topic, "start": "earliest", "on_lost": "stop"}


def sample_topic(options: KafkaClient, folder: Path, topic: str) -> Sample:
    """The newest records of each partition, one partition after the other, committed ones only; in no group.

    Raises `InputError` where there are none, or they are no text, `UserError` and `WorldError` for what Kafka answers.
    """
    connection = connect(options, Consumer, consumer_settings(options, folder) | ALONE)
    try:
        payloads = _newest(connection, topic)
    finally:
        connection.client.close()
    framed = [payload for payload in payloads if is_framed(payload)]
    if len(framed) > len(payloads) / 2:
        raise InputError(
            f"topic {topic}: {len(framed):,} of its {len(payloads):,} newest messages are {framing(framed[-1]).detail}"
        )
    return sample_messages(payloads, f"topic {topic}")


def _newest(connection: Connection[Consumer], topic: str) -> list[bytes]:
    """The values that there are, each partition's in order."""
    deadline = time.monotonic() + _SECONDS
    check_reachable(connection, [topic], _SECONDS)
    with kafka_errors(f"reading topic {topic}", connection.events):
        bounds = _bounds(connection.client, topic, deadline)
        taken = shares({number: end - first for number, (first, end) in bounds.items()}, SAMPLE_LINES)
        ends = {number: bounds[number][1] for number, share in taken.items() if share}
        look = _Look(connection, topic, ends)
        look.read({number: end - taken[number] for number, end in ends.items()}, deadline)
    if ends and not look.found:
        raise WorldError(f"nothing of topic {topic} could be read within {_SECONDS:g} s")
    return [value for number in sorted(look.found) for value in look.found[number]]


def _bounds(consumer: Consumer, topic: str, deadline: float) -> dict[int, tuple[int, int]]:
    """The first offset and the end of each partition, of as many as there is time to ask for."""
    found: dict[int, tuple[int, int]] = {}
    for number in sorted(consumer.list_topics(topic, _ASK_SECONDS).topics[topic].partitions):
        bounds = consumer.get_watermark_offsets(TopicPartition(topic, number), _ASK_SECONDS)
        if bounds is not None:
            found[number] = bounds
        if time.monotonic() > deadline:
            break
    return found


class _Look:
    """Partitions on their way to where they ended when it began."""

    def __init__(self, connection: Connection[Consumer], topic: str, ends: Mapping[int, int]) -> None:
        self._connection, self._topic, self._ends = connection, topic, ends
        self._waiting = set(ends)
        self._bytes = 0
        self.found: dict[int, list[bytes]] = {}
        """The values of each partition that answered."""

    def read(self, starts: Mapping[int, int], deadline: float) -> None:
        """Read from these offsets, as much as there is time and room for. Raises `UserError` and `WorldError`."""
        consumer = self._connection.client
        consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in starts.items()])
        while self._waiting and self._bytes < _BYTES and time.monotonic() < deadline:
            for message in consumer.consume(_PIECE, _TURN):
                if (
                    message.topic() is not None and self._bytes < _BYTES
                ):  # without one it is of a group: we are in none
                    self._take(message)

    def _take(self, message: Message) -> None:
        number, offset, value = message.partition() or 0, message.offset() or 0, message.value()
        error = message.error()
        if error is not None and error.name() not in _OVER:
            raise self._trouble(error)
        values = self.found.setdefault(number, [])
        if error is None and value is not None and number in self._waiting:
            values.append(value)
            self._bytes += len(value)
        if error is not None or offset + 1 >= self._ends[number]:
            self._waiting.discard(number)

    def _trouble(self, error: KafkaError) -> StreamadError:
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return lacking(Right("Read", "topic", self._topic), self._connection.user)
        return streamad_error(error, f"reading topic {self._topic}", self._connection.events)
