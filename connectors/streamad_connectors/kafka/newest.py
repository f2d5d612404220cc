"""The end of a topic of any number of partitions, read in no group: what people look at."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamad.errors import StreamadError
from streamad_connectors.kafka.connection import (
    PATIENCE,
    Connection,
    Right,
    check_reachable,
    connect,
    kafka_errors,
    lacking,
    streamad_error,
    unreached,
)
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings
from streamad_connectors.kafka.topic_reader import ALONE

_LOOKING: dict[str, Any] = ALONE | {"auto.offset.reset": "earliest", "fetch.wait.max.ms": 100}
"""What was deleted while it was to be read is no matter."""

_TURN, _PIECE = 0.1, 1000

_WIDER = 4
"""So many times more offsets are read where the last ones held too few messages: ends of transactions have some too."""

_NEW_SECONDS, _ASK_SECONDS = 10.0, 1.0
"""How often it is looked for new partitions, and for how long."""


class Newest:
    """Reads committed messages only. Used by one thread at a time."""

    def __init__(self, options: KafkaClient, folder: Path, topic: str) -> None:
        """Wait for a broker. Raises `UserError` and `WorldError`."""
        self._options, self._settings = options, consumer_settings(options, folder) | _LOOKING
        self._topic = topic
        self._asking = self._connect()
        self._reading: Connection[Consumer] | None = None
        self._next: dict[int, int] = {}  # where to follow a partition from
        self._looked = time.monotonic()
        check_reachable(self._asking, [topic])

    def last(self, count: int) -> list[Message]:
        """The newest `count` as of now, by timestamp, the oldest of them first."""
        bounds, span = self._bounds(), count
        while True:
            starts = {number: max(first, end - span) for number, (first, end) in bounds.items()}
            read: Counter[int] = Counter()
            found = heapq.nlargest(count, self._read(starts, bounds, read), _age)
            if all(starts[n] == first or read[n] >= count for n, (first, _) in bounds.items()):
                return found[::-1]
            span *= _WIDER

    def all(self) -> Iterator[Message]:
        """All that there is as of now, each partition's in order."""
        bounds = self._bounds()
        return self._read({number: first for number, (first, _) in bounds.items()}, bounds, Counter())

    def more(self, timeout: float) -> list[Message]:
        """What came since the last call, or since `last` or `all`; waits for at most `timeout` seconds."""
        reading = self._reading or self._read_from(self._next)
        if time.monotonic() - self._looked > _NEW_SECONDS:
            self._take_new(reading.client)
        met = reading.client.poll(timeout)  # consume would wait for many
        got = [] if met is None else [met, *reading.client.consume(_PIECE, 0)]
        return sorted((message for message in got if self._is_record(message)), key=_age)

    def close(self) -> None:
        """Give back the connections."""
        self._asking.client.close()
        if self._reading is not None:
            self._reading.client.close()

    def _connect(self) -> Connection[Consumer]:
        return connect(self._options, Consumer, self._settings)

    def _read_from(self, offsets: Mapping[int, int]) -> Connection[Consumer]:
        """Read from these offsets on; with a new client, since one that was elsewhere can still give what was there."""
        if self._reading is not None:
            self._reading.client.close()
        self._reading = self._connect()
        self._reading.client.assign([TopicPartition(self._topic, *place) for place in offsets.items()])
        return self._reading

    def _bounds(self) -> dict[int, tuple[int, int]]:
        """Of each partition the first offset, and the end of what may be read."""
        client = self._asking.client
        with kafka_errors(f"reading topic {self._topic}", self._asking.events):
            places = {number: TopicPartition(self._topic, number) for number in self._numbers(PATIENCE)}
            found = {n: client.get_watermark_offsets(place, PATIENCE) for n, place in places.items()}
        return {number: bounds for number, bounds in found.items() if bounds is not None}

    def _read(
        self, starts: Mapping[int, int], bounds: Mapping[int, tuple[int, int]], read: Counter[int]
    ) -> Iterator[Message]:
        """What lies from these offsets on; `read` counts the messages of each partition."""
        ends = {number: end for number, (_, end) in bounds.items()}
        waiting = {number for number, end in ends.items() if starts[number] < end}
        reading = self._read_from({number: starts[number] for number in waiting})
        heard = time.monotonic()
        while waiting:
            for message in reading.client.consume(_PIECE, _TURN):
                heard = time.monotonic()
                is_record, (number, offset) = self._is_record(message), _place(message)
                if is_record and offset < ends[number]:
                    read[number] += 1
                    yield message
                if offset + is_record >= ends.get(number, 0):
                    waiting.discard(number)
            if time.monotonic() - heard > PATIENCE:
                raise unreached(reading.events, PATIENCE)
        reading.client.close()
        self._reading, self._next = None, ends

    def _take_new(self, reading: Consumer) -> None:
        """Follow partitions that were added, from their beginnings; where nobody answers, later."""
        self._looked = time.monotonic()
        with suppress(KafkaException):
            new = self._numbers(_ASK_SECONDS) - self._next.keys()
            self._next |= dict.fromkeys(new, 0)
            reading.incremental_assign([TopicPartition(self._topic, n, OFFSET_BEGINNING) for n in new])

    def _numbers(self, timeout: float) -> set[int]:
        return {*self._asking.client.list_topics(self._topic, timeout).topics[self._topic].partitions}

    def _is_record(self, message: Message) -> bool:
        """Whether it is one, rather than news. Raises what bad news means."""
        error = message.error()
        if error is None and self._reading is not None:
            self._reading.events.answered()
        if error is None or message.topic() is None or error.name() == "_PARTITION_EOF":
            return error is None  # what has no topic is of a group: we are in none
        raise self._trouble(error)

    def _trouble(self, error: KafkaError) -> StreamadError:
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return lacking(Right("Read", "topic", self._topic), self._asking.user)
        return streamad_error(error, f"reading topic {self._topic}", self._asking.events)


def _place(message: Message) -> tuple[int, int]:
    """Partition and offset."""
    return message.partition() or 0, message.offset() or 0


def _age(message: Message) -> tuple[int, int, int]:
    """Greater for the newer."""
    return message.timestamp()[1], *_place(message)
