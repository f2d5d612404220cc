# ruff: noqa: SLF001 - the client names its own errors with an underscore
"""A topic of records: where reading begins in its partitions, and where it goes on when records are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, Message, TopicPartition

from streamad.errors import InputError
from streamad.records.batch import Block
from streamad_connectors.kafka.connection import Connection, kafka_errors, streamad_error
from streamad_connectors.kafka.payloads import Beside, block_of, partition_name

_log = structlog.get_logger(__name__)

Start = Literal["committed", "earliest", "latest"] | datetime
OnLost = Literal["earliest", "latest", "stop"]

ASK_SECONDS = 5.0
"""How long a broker that has just answered may take for one more answer."""


@dataclass(frozen=True, slots=True)
class RecordTopic:
    """A topic and how it is to be read; see `KafkaOptions`."""

    connection: Connection[Consumer]
    name: str
    group: str
    start: Start
    on_lost: OnLost
    partitions: tuple[int, ...]
    """Those that there were when it was opened."""
    record_bytes: int
    beside: Beside

    def block(self, messages: Sequence[Message], ends: Mapping[int, int]) -> Block:
        """See `block_of`."""
        return block_of(self.name, messages, ends, self.record_bytes, self.beside)

    def place(self, partition: int, offset: int) -> TopicPartition:
        """An offset in a partition, for the client."""
        return TopicPartition(self.name, partition, offset)

    def group_offset(self, partition: int) -> int:
        """The group's offset in a partition, below 0 where it has none; waits for what is pending."""
        with kafka_errors("asking for the group's offsets", self.connection.events):
            return self.connection.client.committed([self.place(partition, 0)], ASK_SECONDS)[0].offset

    def first_offset(self, partition: int) -> int:
        """Where to begin in a partition for which the group has no offset; may be one of Kafka's `OFFSET_...`.

        Raises `InputError` where only the group's offset was to be taken.
        """
        if partition not in self.partitions:  # its records came while we were reading
            return OFFSET_BEGINNING
        if self.start == "committed":
            raise InputError(
                f"group {self.group} has no offset for {partition_name(self.name, partition)}, and source.start is "
                "committed: earliest, latest or a time would say where to begin"
            )
        if isinstance(self.start, datetime):
            return self._offset_at(partition, self.start)
        return OFFSET_BEGINNING if self.start == "earliest" else OFFSET_END

    def _offset_at(self, partition: int, moment: datetime) -> int:
        """The first record with this timestamp or a later one; `OFFSET_END` where there is none."""
        asked = self.place(partition, round(moment.timestamp() * 1000))
        with kafka_errors(f"asking topic {self.name} for {moment}", self.connection.events):
            return self.connection.client.offsets_for_times([asked], ASK_SECONDS)[0].offset

    def offset_instead(self, partition: int, lost: int) -> int:
        """Where to go on in a partition that does not hold the offset `lost`; a warning tells of it.

        Raises `InputError` where `on_lost` is to stop.
        """
        first, end = self.bounds(partition)
        name = partition_name(self.name, partition)
        what = f"{name}@{lost} is to be read next, but the topic holds {first} up to {end} there"
        if self.on_lost == "stop":
            raise InputError(f"{what}; source.on_lost: earliest or latest would go on with these")
        going_on = first if self.on_lost == "earliest" else end
        _log.warning("records are lost", why=what, going_on_at=going_on)
        return going_on

    def bounds(self, partition: int) -> tuple[int, int]:
        """(offset of the first record, the offset behind all that may be read) of a partition."""
        with kafka_errors(f"asking topic {self.name} for its end", self.connection.events):
            found = self.connection.client.get_watermark_offsets(self.place(partition, 0), ASK_SECONDS)
        assert found is not None
        return found

    def heed(self, error: KafkaError) -> None:
        """What the client says in a message's place and does not mend by itself. Raises what ends the reading."""
        if not error.retriable() and error.code() != KafkaError._MAX_POLL_EXCEEDED:  # joins again by itself
            raise streamad_error(error, f"reading topic {self.name}", self.connection.events)
        self.connection.events.on_error(error)
