"""Single records of a topic, found again by their position: what labels without a record are completed with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message

from streamad.errors import InputError, OutOfTouchError
from streamad.records.batch import Block
from streamad_connectors.kafka.connection import MISSING, Connection, streamad_error
from streamad_connectors.kafka.first_topic import Heed
from streamad_connectors.kafka.payloads import Place, place_of
from streamad_connectors.kafka.record_topic import RecordTopic
from streamad_connectors.kafka.topic_reader import ALONE

LOOKING_UP: dict[str, Any] = ALONE | {
    "queued.min.messages": 1,  # what lies behind the record is not wanted
    "fetch.message.max.bytes": 64 << 10,
}
"""Settings of the consumer."""

_PATIENCE = 2.0
"""Seconds for one record: whoever asks has other things to do, and asks again."""

_ENDS_HOLD = 1.0
"""Seconds for which a partition's end is taken for known where it says that a record has not come yet."""

_ASK_SECONDS = 5.0
"""How often it is asked which topic has the name."""

_TURN = 0.05
_GONE = {"_PARTITION_EOF", "_AUTO_OFFSET_RESET"}


class KafkaLookup:
    """Reads one record at a time, in no group. Implements `streamad.ports.Lookup`."""

    def __init__(
        self,
        topic: RecordTopic,
        reconnect: Callable[[], Connection[Consumer]],
        heed: Heed,
    ) -> None:
        """The connection of `topic` is ours alone, and one of those that `reconnect` makes, with `LOOKING_UP`."""
        self._topic, self._reconnect, self._heed = topic, reconnect, heed
        self._asked, self._heeded = float("-inf"), ""
        self._ends: dict[int, tuple[float, int]] = {}  # when asked, and what was said

    def payload(self, position: str) -> Block | None:
        """See `streamad.ports.Lookup.payload`. Raises `UserError` too for what Kafka refuses."""
        place = place_of(self._topic.name, position)
        if place is None:
            raise InputError(f"{position} is no position in topic {self._topic.name}")
        self._check_topic(place, position, within=_ASK_SECONDS)
        try:
            message = self._message(place.partition, place.offset)
        except KafkaException as failed:
            error = failed.args[0]
            meant = streamad_error(error, f"looking for {position}", self._topic.connection.events)
            if isinstance(meant, OutOfTouchError) or error.name() in MISSING:  # it was there a moment ago
                return None
            raise meant from None
        except OutOfTouchError:
            return None
        if message is None:
            return None
        self._check_topic(place, position, within=0)  # another topic may have had the name when it was read
        return self._topic.block([message], {})

    def close(self) -> None:
        """See `streamad.ports.Lookup.close`."""
        self._consumer.close()

    @property
    def _consumer(self) -> Consumer:
        return self._topic.connection.client

    def _check_topic(self, place: Place, position: str, *, within: float) -> None:
        """Raise `InputError` for a place in a topic that had the name, as brokers said `within` the last seconds."""
        records = self._topic.id
        if time.monotonic() - self._asked >= within:
            records.ask()
            self._asked = time.monotonic()
        if records.known is not None and records.known != self._heeded:
            self._heed(records)
            self._heeded = records.known
        if not records.has(place.generation):
            raise InputError(f"{position} is a position in a topic of this name that was deleted")

    def _message(self, number: int, offset: int) -> Message | None:
        if offset >= self._end(number, offset):
            return None
        try:
            return self._first(number, offset)
        except InputError:  # what came may have been left over from the place that was read before
            self._consumer.close()
            self._topic = replace(self._topic, connection=self._reconnect())
            return self._first(number, offset)

    def _first(self, number: int, offset: int) -> Message | None:
        """What the consumer reads first. Raises `InputError` where it is not that record."""
        self._consumer.assign([self._topic.place(number, offset)])
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            message = self._consumer.poll(_TURN)
            if message is None or message.topic() is None:  # of a group: we are in none
                continue
            error, place = message.error(), (message.partition(), message.offset())
            if (error is None and place != (number, offset)) or (error and error.name() in _GONE):
                raise self._gone(number, offset)
            if error is None:
                self._topic.connection.events.answered()
                return message
            self._topic.heed(error)
        return None

    def _end(self, number: int, offset: int) -> int:
        """Behind the last record that may be read, as far as it matters for `offset`."""
        asked, end = self._ends.get(number, (float("-inf"), 0))
        if offset < end or time.monotonic() - asked < _ENDS_HOLD:
            return end
        if not self._exists(number):
            raise self._gone(number, offset)
        found = self._consumer.get_watermark_offsets(self._topic.place(number, 0), _PATIENCE)
        assert found is not None
        self._ends[number] = time.monotonic(), found[1]
        return found[1]

    def _exists(self, number: int) -> bool:
        """Whether there is such a partition, which may be new. A broker that does not say counts as yes."""
        if number in self._topic.partitions:
            return True
        known = self._consumer.list_topics(self._topic.name, _PATIENCE).topics[self._topic.name]
        return known.error is not None or number in known.partitions

    def _gone(self, number: int, offset: int) -> InputError:
        return InputError(f"{self._topic.name}/{number}@{offset} holds no record, or no longer")


class NoLookup:
    """Implements `streamad.ports.Lookup` for records that lie in no topic."""

    def payload(self, position: str) -> Block | None:
        """See `streamad.ports.Lookup.payload`."""
        raise InputError(f"{position} lies in no topic, so its label needs the record beside it")

    def close(self) -> None:
        """Nothing to give back."""
