"""Who is the active trainer: the owner of control's one partition in the trainers' group."""

from __future__ import annotations

import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamad_connectors.kafka.connection import (
    Right,
    check_reachable,
    connect,
    lacking,
    streamad_error,
)
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings

SESSION_MS = 8000
"""A trainer that is not heard of for so long is no longer the active one."""

_CONFIRM = 5.0
_TURN = 0.05


def trainers_of(feed: str) -> str:
    """The name of a feed's trainers: that of their group, and the one under which the active one speaks."""
    return f"streamad-{feed}-trainer"


class Ownership:
    """A member of the trainers' group. It reads nothing, and is told of changes only while it is asked."""

    def __init__(self, options: KafkaClient, folder: Path, group: str, topic: str) -> None:
        """Joins with the first call. Raises `UserError` for settings that librdkafka refuses."""
        settings = consumer_settings(options, folder) | {
            "group.id": group,
            "partition.assignment.strategy": "cooperative-sticky",  # who joins later takes nothing away
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": SESSION_MS // 8,
            "auto.offset.reset": "latest",
            "on_commit": self._on_commit,
        }
        self._connection = connect(options, Consumer, settings)
        self._group, self._topic = group, topic
        self._joined = self._owned = False
        self._confirmed: bool | None = None

    def owned(self, timeout: float) -> bool:
        """Whether the partition is ours, as far as we heard; waits for it for at most `timeout` seconds.

        Raises `WorldError` where no broker answers the first call in time, and `UserError` for what is missing.
        """
        self._join()
        deadline = time.monotonic() + timeout
        self._poll(0)
        while not self._owned and (left := deadline - time.monotonic()) > 0:
            self._poll(min(left, _TURN))
        return self._owned

    def confirmed(self) -> bool:
        """Whether the group's coordinator agrees: who slept may have lost the partition unheard.

        It takes a commit only from who is still a member. The offset committed means nothing.
        """
        self._confirmed = None
        try:
            self._connection.client.commit(offsets=[TopicPartition(self._topic, 0, 0)], asynchronous=True)
        except KafkaException:
            return False
        deadline = time.monotonic() + _CONFIRM
        while self._owned and self._confirmed is None and time.monotonic() < deadline:
            self._poll(_TURN)
        return self._owned and self._confirmed is True

    def close(self) -> None:
        """Leave the group, so that another trainer takes over at once."""
        self._connection.client.close()

    def _join(self) -> None:
        if not self._joined:
            check_reachable(self._connection, [self._topic])
            self._connection.client.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_lost, on_lost=self._on_lost
            )
            self._joined = True

    def _poll(self, timeout: float) -> None:
        """Let librdkafka call back."""
        message = self._connection.client.poll(timeout)
        if message is None or (error := message.error()) is None:
            return
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise lacking(Right("Read", "group", self._group), self._connection.user)
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise lacking(Right("Read", "topic", self._topic), self._connection.user)
        if message.topic() is not None:
            raise streamad_error(error, f"subscribing to topic {self._topic}", self._connection.events)
        self._connection.events.on_error(error)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)  # owning is all
        self._owned = self._owned or any(place.partition == 0 for place in partitions)

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._owned = self._owned and all(place.partition != 0 for place in partitions)

    def _on_commit(self, error: KafkaError | None, _partitions: list[TopicPartition]) -> None:
        self._confirmed = error is None
