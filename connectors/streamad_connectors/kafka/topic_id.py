"""Which topic of its name it is: one that was deleted and made anew has another id (KIP-516)."""

from __future__ import annotations

import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streamad_connectors.kafka.connection import Connection, connect
from streamad_connectors.kafka.settings import KafkaClient, admin_settings

_SECONDS = 5.0

_LOOK_SECONDS = 5.0
"""How often it is asked beside the reading, and so for how long another topic can be taken for the one that was read."""

_NONE = "AAAAAAAAAAAAAAAAAAAAAA"
"""What brokers say that know no ids."""


class TopicId:
    """The id of the topic that is read. A cursor, and the group's offset, say of which one they are."""

    def __init__(self, options: KafkaClient, folder: Path, name: str) -> None:
        """Connects when it is asked for."""
        self._options, self._folder, self._name = options, folder, name
        self._admin: Connection[AdminClient] | None = None
        self._answer: Future[Any] | None = None
        self._asked_at = time.monotonic()
        self.known: str | None = None
        """As the brokers said last."""

    def ask(self) -> None:
        """Ask the brokers. Where they do not say, what was known stays: who reads on hears why."""
        self._answer = None  # to an older question
        self._hear(self._asked())

    def look(self) -> None:
        """As `ask`, now and then, and without waiting: what is known changes once there is an answer."""
        if self._answer is not None and self._answer.done():
            self._hear(self._answer)
            self._answer = None
        elif self._answer is None and time.monotonic() - self._asked_at >= _LOOK_SECONDS:
            self._answer = self._asked()

    def _asked(self) -> Future[Any]:
        self._asked_at = time.monotonic()
        self._admin = self._admin or connect(
            self._options, AdminClient, admin_settings(self._options, self._folder)
        )
        names = TopicCollection([self._name])
        return self._admin.client.describe_topics(names, request_timeout=_SECONDS)[self._name]

    def _hear(self, answer: Future[Any]) -> None:
        with suppress(KafkaException):
            told = str(answer.result().topic_id)
            self.known = None if told == _NONE else told

    def is_another(self, told: str | None) -> bool:
        """Whether what says this id of itself is of a topic that was deleted; not where an id is not known."""
        return bool(told and self.known) and told != self.known
