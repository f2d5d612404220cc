"""A feed's topics for a demo: made under its name, filled, and removed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not said to be public

from streamad.errors import WorldError
from streamad_connectors.kafka.connection import (
    PATIENCE,
    Connection,
    check_reachable,
    connect,
    kafka_errors,
    streamad_error,
)
from streamad_connectors.kafka.ownership import trainers_of
from streamad_connectors.kafka.settings import KafkaClient, admin_settings, producer_settings
from streamad_connectors.kafka.topics import Topics, create_missing

PARTITIONS = 6
_TURN = 0.05


class Sender:
    """Writes records to a topic, its partitions taking turns."""

    def __init__(self, client: KafkaClient, topic: str, folder: Path = Path()) -> None:
        """`folder` is where relative paths of the client's settings start. Raises `UserError` and `WorldError`."""
        settings = producer_settings(client, folder) | {"linger.ms": 20, "on_delivery": self._delivered}
        self._connection = connect(client, Producer, settings)
        check_reachable(self._connection, [topic])
        self._topic = topic
        self._partitions = len(self._connection.client.list_topics(topic, PATIENCE).topics[topic].partitions)
        self._sent = 0
        self._failed: KafkaError | None = None

    def send(self, payloads: Sequence[bytes]) -> None:
        """Returns when all are stored. Raises `UserError` and `WorldError` where one is not."""
        for payload in payloads:
            while not self._taken(payload):
                self._connection.client.poll(_TURN)
        left = self._connection.client.flush(PATIENCE)
        if self._failed is not None:
            raise streamad_error(self._failed, f"writing topic {self._topic}", self._connection.events)
        if left:
            raise WorldError(
                f"writing topic {self._topic}: {left:,} messages were not taken within {PATIENCE:g} s"
            )

    def _taken(self, payload: bytes) -> bool:
        try:
            self._connection.client.produce(self._topic, payload, partition=self._sent % self._partitions)
        except BufferError:
            return False
        self._sent += 1
        return True

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        self._failed = self._failed or error


class KafkaStage:
    """Implements `streamad.ports.Stage`. What belongs to it begins with the feed's name."""

    def __init__(self, client: KafkaClient, feed: str, topics: Topics) -> None:
        """Make `topics` and that of the records. Raises `UserError` and `WorldError`."""
        self._client, self._feed = client, feed
        self._topic = f"{feed}.records"
        self._admin = connect(self._client, AdminClient, admin_settings(self._client, Path()))
        check_reachable(self._admin)
        _make(self._admin, self._topic)
        create_missing(self._admin, topics)
        self._sender = Sender(self._client, self._topic)

    def source(self) -> Mapping[str, Any]:
        """See `streamad.ports.Stage.source`."""
        return {"type": "kafka", "brokers": self._client.brokers, "topic": self._topic, "format": "ndjson"}

    def send(self, payloads: Sequence[bytes]) -> None:
        """See `streamad.ports.Stage.send`."""
        self._sender.send(payloads)

    def close(self) -> None:
        """See `streamad.ports.Stage.close`."""
        admin = self._admin.client
        with kafka_errors("removing the demo's topics", self._admin.events):
            known = admin.list_topics(timeout=PATIENCE).topics
            ours = [name for name in known if name.startswith(f"{self._feed}.")]
            groups = [f"streamad-{self._feed}", trainers_of(self._feed)]
            answers = admin.delete_topics(ours, request_timeout=PATIENCE) if ours else {}
            for answer in answers.values():
                answer.result()
        for answer in admin.delete_consumer_groups(groups, request_timeout=PATIENCE).values():
            answer.exception()  # it may never have come into being


def _make(admin: Connection[AdminClient], topic: str) -> None:
    with kafka_errors(f"making topic {topic}", admin.events):
        (answer,) = admin.client.create_topics(
            [NewTopic(topic, PARTITIONS)], request_timeout=PATIENCE
        ).values()
        answer.result()
    deadline = time.monotonic() + PATIENCE
    while True:  # a new topic is not known to all brokers at once
        known = admin.client.list_topics(timeout=PATIENCE).topics.get(topic)
        if known is not None and all(place.leader >= 0 for place in known.partitions.values()):
            return
        if time.monotonic() > deadline:
            raise WorldError(f"the new topic {topic} got no leaders within {PATIENCE:g} s")
        time.sleep(_TURN)
