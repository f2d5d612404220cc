"""Which topic of its name it is: one that was deleted and made anew has another id (KIP-516)."""

from __future__ import annotations

import re
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streamad_connectors.kafka.connection import Connection, connect
from streamad_connectors.kafka.settings import KafkaClient, admin_settings

_SECONDS = 5.0

_LOOK_SECONDS = 5.0
"""How often it is asked beside the reading, and so for how long another topic can be taken for the one that was read."""

GENERATION = 8
"""So many letters of an id tell topics of one name apart in positions."""

_IN_NAMES = str.maketrans("+/", "-_")
"""Ids are spelled in base64, which has letters that positions have elsewhere."""

_NONE = "AAAAAAAAAAAAAAAAAAAAAA"
"""What brokers say that know no ids."""


_MARK = re.compile(r"([\w+/-]{22})(~?)(?::(\d{1,9}))?", re.ASCII)


class Mark(NamedTuple):
    """What a cursor, or the metadata of the group's offset, says of the topic that it is of."""

    id: str | None = None
    anew: bool = False
    """Whether the feed has read another topic of this name before."""
    partitions: int | None = None
    """How many the topic had when the feed began with it; those that came later are new."""

    @classmethod
    def of(cls, text: str | None) -> Self:
        """The mark that was written so; nothing is known where it is of somebody else."""
        found = _MARK.fullmatch(text or "")
        if found is None:
            return cls()
        return cls(found[1], bool(found[2]), int(found[3]) if found[3] else None)

    def __str__(self) -> str:
        """For a topic whose id is known."""
        count = "" if self.partitions is None else f":{self.partitions}"
        return f"{self.id}{'~' * self.anew}{count}"


class TopicId:
    """The id of the topic that is read. A cursor, and the group's offset, say of which one they are."""

    def __init__(self, options: KafkaClient, folder: Path, name: str, partitions: int) -> None:
        """Of a topic that has so many partitions now. Connects when it is asked for."""
        self._options, self._folder, self.name = options, folder, name
        self._admin: Connection[AdminClient] | None = None
        self._answer: Future[Any] | None = None
        self._asked_at = time.monotonic()
        self.known: str | None = None
        """As the brokers said last."""
        self.anew = False
        """Whether the feed has read another topic of this name before: offsets alone would name two records alike."""
        self.begun_with = partitions
        """How many there were when the feed began with the topic, as far as is known."""
        self.replaced = False
        """Whether the feed began with another topic of this name, as control tells."""

    def mark(self, topic_id: str | None) -> str:
        """What is to be said beside an offset of the topic with this id; nothing where that is not known."""
        return str(Mark(topic_id, self.anew, self.begun_with)) if topic_id else ""

    @property
    def generation(self) -> str:
        """What positions have before their offset, where offsets alone would name two records alike."""
        return self._generation if self.anew else ""

    def has(self, generation: str) -> bool:
        """Whether positions in the topic that there is have this generation, as far as is known."""
        return self.known is None or generation == self._generation or not (generation or self.anew)

    @property
    def _generation(self) -> str:
        return f"~{self.known[:GENERATION].translate(_IN_NAMES)}" if self.known else ""

    def heed(self, text: str | None) -> None:
        """Take from what was said beside an offset what it tells of the topic that there is."""
        mark = Mark.of(text)
        self.anew |= mark.anew and mark.id == self.known
        if mark.partitions is not None:
            self.begun_with = min(mark.partitions, self.begun_with)

    def heed_first(self, text: str | None) -> None:
        """Take from the mark of the topic of this name that the feed began with whether it is this one."""
        self.heed(text)
        self.replaced = self.is_another(text)
        self.anew |= self.replaced

    def is_new(self, partition: int) -> bool:
        """Whether a partition came after the feed began with the topic."""
        return partition >= self.begun_with

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
        names = TopicCollection([self.name])
        return self._admin.client.describe_topics(names, request_timeout=_SECONDS)[self.name]

    def _hear(self, answer: Future[Any]) -> None:
        with suppress(KafkaException):
            told = str(answer.result().topic_id)
            self.known = None if told == _NONE else told

    def is_of(self, text: str | None) -> bool:
        """Whether what has this mark is known to be of the topic that there is."""
        return self.known is not None and Mark.of(text).id == self.known

    def is_another(self, text: str | None) -> bool:
        """Whether what has this id or mark is of a topic that was deleted; not where an id is not known."""
        told = Mark.of(text).id
        return bool(told and self.known) and told != self.known
