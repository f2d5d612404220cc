"""The records of late, read by a trainer: in no group, and never far behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog
from confluent_kafka import Consumer, Message

from streamad.errors import OutOfTouchError
from streamad.ports import Idle, Positions, SourceFigures
from streamad.records.batch import Block
from streamad_connectors.kafka.connection import Connection, kafka_errors
from streamad_connectors.kafka.gauge import Gauge, Span
from streamad_connectors.kafka.payloads import arrivals, partition_name
from streamad_connectors.kafka.record_topic import ASK_SECONDS, RecordTopic
from streamad_connectors.kafka.shares import shares
from streamad_connectors.kafka.thinning import Thinning
from streamad_connectors.kafka.topic_id import TopicId

_log = structlog.get_logger(__name__)

_LOOK_SECONDS = 5.0
"""How often it is looked how far behind it is, and whether there are new partitions."""


class KafkaTail:
    """All partitions of a topic, from their last records on, `window` in all. A cursor is ``{"offset": next}``.

    Partitions give equal parts; what one that holds less leaves goes to the others.

    A trainer learns from what is recent, and need not have seen all of it: of a feed that is faster than it, it is given
    a sample (`Thinning`), and where more than twice the window came meanwhile, it jumps forward to the last ones again.
    """

    def __init__(
        self, topic: RecordTopic, reconnect: Callable[[], Connection[Consumer]], window: int
    ) -> None:
        """The connection of `topic` is ours alone, and one of those that `reconnect` makes.

        Raises `StreamadError` for what Kafka answers.
        """
        self._topic, self._reconnect, self._window = topic, reconnect, window
        self._topic_id: str | None = None
        """That of the topic that the spans are of."""
        self._spans: dict[int, Span] = {}
        self._gauge = Gauge(topic.name)
        self._thinning = Thinning(window)
        self._looked = float("-inf")

    @property
    def topic_id(self) -> TopicId:
        """That of the topic that is read."""
        return self._topic.id

    def poll(self, max_rows: int, timeout: float) -> Block | Idle:
        """See `streamad.ports.Source.poll`."""
        self._gauge.polled(self._consumer, self._spans, news=False)
        if not max_rows:
            return Idle()
        doing, events = f"reading topic {self._topic.name}", self._topic.connection.events
        with suppress(OutOfTouchError), kafka_errors(doing, events):  # the client waits, and has said so
            self._look()
        with kafka_errors(doing, events):
            got = self._read(max_rows, timeout)
        ends = {number: span.end for number, span in self._spans.items() if span.end > span.handed}
        for number, end in ends.items():
            self._spans[number].handed = end
        if not (got or ends):
            return Idle()
        block = self._topic.block(got, self._handed() | ends)
        return replace(block, arrived=arrivals(got))

    def _read(self, max_rows: int, timeout: float) -> list[Message]:
        """At most `max_rows` that are in the sample, of at most as many reads as it thins."""
        taken: list[Message] = []
        for attempt in range(self._thinning.one_in):
            met = self._consumer.consume(max_rows - len(taken), 0 if attempt else timeout)
            found = [message for message in met if self._is_record(message)]
            self._note(found)
            kept = self._thinning.take(found)
            self._thinning.passed(len(kept), len(found))
            taken += kept
            if not met or len(taken) == max_rows:
                break
        return taken

    def _note(self, found: Sequence[Message]) -> None:
        for message in found:
            if (span := self._spans.get(message.partition() or 0)) is not None:
                span.handed = (message.offset() or 0) + 1
        if found:
            self._topic.connection.events.answered()

    def _handed(self) -> dict[int, int]:
        """How far each partition was read; where it was thinned, that may be behind its last row."""
        if self._thinning.one_in == 1:
            return {}
        return {number: span.handed for number, span in self._spans.items()}

    def figures(self, positions: Positions) -> SourceFigures:
        """See `streamad.ports.WatchedSource.figures`."""
        found = self._gauge.figures(positions, away=self._topic.connection.events.away)
        return replace(found, share=self._thinning.share)

    def seek(self, positions: Positions) -> None:
        """See `streamad.ports.Source.seek`; what is not named goes on where it is."""
        with kafka_errors(f"going back in topic {self._topic.name}", self._topic.connection.events):
            for number in self._spans:
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
        self._looked = now
        self._go_over()
        known = self._consumer.list_topics(self._topic.name, ASK_SECONDS).topics[self._topic.name]
        bounds = {number: self._topic.bounds(number) for number in known.partitions}
        taken = shares({number: end - first for number, (first, end) in bounds.items()}, self._window)
        spans = {number: self._spans[number] for number in bounds if number in self._spans}
        waiting = {number: bounds[number][1] - span.handed for number, span in spans.items()}
        behind = sum(waiting.values())
        for number, (_, end) in bounds.items():
            if behind > 2 * self._window and waiting.get(number, 0) > taken[number]:
                self._jump(number, waiting[number] - taken[number])
            elif number in waiting:
                continue
            self._go(number, end - taken[number])
        self._gauge.settled = bool(known.partitions)
        self._think(behind)

    def _go_over(self) -> None:
        """Where the topic was deleted and made anew, read the new one: another client, as this one may never see it."""
        records = self._topic.id
        records.ask()
        if records.known == self._topic_id:
            return
        if self._topic_id is not None:
            _log.warning("topic_made_anew", topic=self._topic.name)
            before, self._topic = self._consumer, replace(self._topic, connection=self._reconnect())
            before.close()
            self._spans, records.anew = {}, True
        self._topic_id = records.known

    @property
    def _consumer(self) -> Consumer:
        return self._topic.connection.client

    def _jump(self, number: int, records: int) -> None:
        _log.info("jumped_forward", partition=number, records=records)
        self._thinning.passed(0, records)

    def _think(self, behind: int) -> None:
        before = self._thinning.one_in
        self._thinning.look(behind)
        if before != self._thinning.one_in:
            _log.info("records_sampled", one_in=self._thinning.one_in, behind=behind)

    def _go(self, number: int, offset: int) -> None:
        if number in self._spans:
            self._topic.go(number, offset)
        else:
            self._consumer.incremental_assign([self._topic.place(number, offset)])
        self._spans[number] = Span(begun=offset, handed=offset)

    def _is_record(self, message: Message) -> bool:
        error, number = message.error(), message.partition() or 0
        if error is None:
            return True
        if error.name() == "_AUTO_OFFSET_RESET":
            self._looked = float("-inf")  # what was to be read next is gone: look again where it begins
            self._spans.pop(number, None)
            self._consumer.incremental_unassign([self._topic.place(number, 0)])
        elif error.name() == "_PARTITION_EOF":
            if number in self._spans:
                self._spans[number].end = message.offset() or 0
        elif error.name() != "GROUP_AUTHORIZATION_FAILED":  # we are in no group, and need no right on one
            self._topic.heed_or_wait(error)
        return False
