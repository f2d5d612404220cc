"""The records of late, read by a trainer: in no group, and never far behind."""

from __future__ import annotations

import time
from contextlib import suppress

import structlog
from confluent_kafka import Consumer, Message, TopicPartition

from streamad.errors import OutOfTouchError
from streamad.ports import Idle, Positions, SourceFigures
from streamad.records.batch import Block
from streamad_connectors.kafka.connection import kafka_errors
from streamad_connectors.kafka.gauge import Gauge, Place
from streamad_connectors.kafka.payloads import partition_name
from streamad_connectors.kafka.record_topic import ASK_SECONDS, RecordTopic

_log = structlog.get_logger(__name__)

_LOOK_SECONDS = 5.0
"""How often it is looked how far behind it is, and whether there are new partitions."""


class KafkaTail:
    """All partitions of a topic, from their last records on, `window` in all. A cursor is ``{"offset": next}``.

    Where more than twice as many came meanwhile, it jumps forward to the last ones again: a trainer learns from
    what is recent, and need not have seen all of it.
    """

    def __init__(self, topic: RecordTopic, window: int) -> None:
        """Raises `StreamadError` for what Kafka answers."""
        self._topic, self._window = topic, window
        self._consumer: Consumer = topic.connection.client
        self._places: dict[int, Place] = {}
        self._gauge = Gauge(topic.name)
        self._looked = float("-inf")

    def poll(self, max_rows: int, timeout: float) -> Block | Idle:
        """See `streamad.ports.Source.poll`."""
        self._gauge.polled(self._consumer, self._places, news=False)
        if not max_rows:
            return Idle()
        doing, events = f"reading topic {self._topic.name}", self._topic.connection.events
        with (
            suppress(OutOfTouchError),
            kafka_errors(doing, events),
        ):  # the client waits for them, and has said so
            self._look()
        with kafka_errors(doing, events):
            got = [m for m in self._consumer.consume(max_rows, timeout) if self._is_record(m)]
        for message in got:
            if (place := self._places.get(message.partition() or 0)) is not None:
                place.handed = (message.offset() or 0) + 1
        if got and events.away:
            events.answered()
        ends = {number: place.end for number, place in self._places.items() if place.end > place.handed}
        for number, end in ends.items():
            self._places[number].handed = end
        return self._topic.block(got, ends) if got or ends else Idle()

    def figures(self, positions: Positions) -> SourceFigures:
        """See `streamad.ports.WatchedSource.figures`."""
        return self._gauge.figures(positions, away=self._topic.connection.events.away)

    def seek(self, positions: Positions) -> None:
        """See `streamad.ports.Source.seek`; what is not named goes on where it is."""
        with kafka_errors(f"going back in topic {self._topic.name}", self._topic.connection.events):
            for number in self._places:
                if cursor := positions.get(partition_name(self._topic.name, number)):
                    self._go(number, int(cursor["offset"]))

    def progress(self) -> None:
        """See `streamad.ports.Source.progress`."""

    def close(self) -> None:
        """See `streamad.ports.Source.close`."""
        self._consumer.close()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked, self._gauge.settled = now, True
        partitions = (
            self._consumer.list_topics(self._topic.name, ASK_SECONDS).topics[self._topic.name].partitions
        )
        share = max(1, self._window // len(partitions))
        for number in partitions:
            first, end = self._topic.bounds(number)
            place = self._places.get(number)
            if place is not None and end - place.handed > 2 * share:
                _log.info("jumped_forward", partition=number, records=end - place.handed - share)
            elif place is not None:
                continue
            self._go(number, max(first, end - share))

    def _go(self, number: int, offset: int) -> None:
        if number in self._places:
            self._consumer.seek(TopicPartition(self._topic.name, number, offset))
        else:
            self._consumer.incremental_assign([self._topic.place(number, offset)])
        self._places[number] = Place(begun=offset, handed=offset)

    def _is_record(self, message: Message) -> bool:
        error, number = message.error(), message.partition() or 0
        if error is None:
            return True
        if error.name() == "_AUTO_OFFSET_RESET":
            self._looked = float("-inf")  # what was to be read next is gone: look again where it begins
            self._places.pop(number, None)
            self._consumer.incremental_unassign([self._topic.place(number, 0)])
        elif error.name() == "_PARTITION_EOF":
            if number in self._places:
                self._places[number].end = message.offset() or 0
        elif error.name() != "GROUP_AUTHORIZATION_FAILED":  # we are in no group, and need no right on one
            self._topic.heed(error)
        return False
