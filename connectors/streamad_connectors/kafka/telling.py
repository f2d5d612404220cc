"""Messages written one by one, by who is no trainer: labels, and requests to the trainer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamad.errors import StreamadError, UserError
from streamad_connectors.kafka.connection import (
    PATIENCE,
    Connection,
    Right,
    check_reachable,
    connect,
    lacking,
    streamad_error,
)
from streamad_connectors.kafka.settings import KafkaClient, producer_settings

_IN_FLIGHT = 1000
_TURN = 0.1

Said = tuple[bytes, bytes]
"""A message's key and value."""


def tell(options: KafkaClient, folder: Path, topic: str, messages: Iterable[Said]) -> None:
    """Write messages to the topic's partition 0, in their order; returns when all copies of all are stored.

    Raises `UserError` for one that the topic does not take, where the others are stored all the same, and for a right
    that is missing; `WorldError` where no broker answers in time.
    """
    settings = producer_settings(options, folder) | {"message.timeout.ms": int(PATIENCE * 1000)}
    connection = connect(options, Producer, settings)
    check_reachable(connection, [topic])
    producer, refused = connection.client, list[Refused]()
    for key, value in messages:
        told = partial(_on_delivery, refused, key, len(value))
        try:
            producer.produce(topic, value, key, partition=0, on_delivery=told)
        except KafkaException as failed:
            refused.append(Refused(failed.args[0], key, len(value)))
        while len(producer) >= _IN_FLIGHT:
            producer.poll(_TURN)
    while len(producer):
        producer.poll(_TURN)
    if refused:
        raise _meaning(refused[0], topic, connection)


class Refused(NamedTuple):
    """A message that was not stored."""

    error: KafkaError
    key: bytes
    size: int
    """The bytes of its value."""


def _on_delivery(
    refused: list[Refused], key: bytes, size: int, error: KafkaError | None, _message: Message
) -> None:
    if error is not None:
        refused.append(Refused(error, key, size))


def _meaning(refused: Refused, topic: str, connection: Connection[Producer]) -> StreamadError:
    error, key, size = refused
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return UserError(
            f"the message for {key.decode(errors='replace')} has {size} bytes, more than topic {topic}, "
            "or the client setting message.max.bytes, allows"
        )
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return lacking(Right("Write", "topic", topic), connection.user)
    return streamad_error(error, f"writing to topic {topic}", connection.events)
