# ruff: noqa: SLF001 - the client names its own errors with an underscore
"""A topic read as a member of a consumer group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, Message, TopicPartition

from streamad.errors import InputError, OutOfTouchError
from streamad.ports import Idle, Positions, Revoked, SourceFigures
from streamad.records.batch import Block
from streamad_connectors.kafka.connection import CLOSE_SECONDS, Connection, kafka_errors, leave
from streamad_connectors.kafka.errands import Errands
from streamad_connectors.kafka.gauge import Gauge, Span, note_begun
from streamad_connectors.kafka.made_anew import go_over
from streamad_connectors.kafka.pauses import Pauses
from streamad_connectors.kafka.payloads import partition_name
from streamad_connectors.kafka.record_topic import RecordTopic

_log = structlog.get_logger(__name__)

_AHEAD = 64
"""Messages taken while nobody wants rows, before the partitions are paused. What the client had fetched of a paused
partition is fetched once more afterwards, so a short wait does not pause."""


class KafkaSource:
    """A source that shares a topic with the other members of its group. A cursor is ``{"offset": next}``.

    A partition begins at the group's offset, which it is given where there is none, and `seek` goes back within what was
    read since, never before: that was somebody else's. At a partition's end its cursor moves up to the end, past what was
    aborted there; so a block may have a cursor for a partition without rows, or no rows at all.

    With `alone` there may be no other member: the positions of `seek` win over the group's offsets, and partitions are
    never revoked. `poll` and `seek` are for one thread, the rest for any.
    """

    def __init__(
        self,
        topic: RecordTopic,
        reconnect: Callable[[], Connection[Consumer]],
        release: Callable[[tuple[str, ...]], None],
        *,
        alone: bool,
    ) -> None:
        self._topic, self._reconnect, self._release, self._alone = topic, reconnect, release, alone
        self._consumer, self._events = topic.connection.client, topic.connection.events
        self._topic_id = topic.id.known  # of what this client reads
        # with `alone`, of partitions that the group took away for a moment too
        self._spans: dict[int, Span] = {}
        self._assigned: set[int] = set()
        self._gone: set[int] = set()  # taken away within the present poll
        self._named: dict[int, int] = {}
        self._ahead: list[Message] = []
        self._problem: InputError | None = None
        self._joined = self._renewing = self._closing = False
        self._busy = threading.Lock()
        self._errands = Errands(self._busy, lambda: self._consumer)
        self._gauge = Gauge(topic.name)
        self._pauses = Pauses(topic.name)
        self.owned: frozenset[str] = frozenset()
        """The partitions that this member may commit offsets of at present."""

    def group_metadata(self) -> Any:  # noqa: ANN401  # the client's type has no public name
        """The membership that a transaction commits offsets for, as of the last `poll`."""
        return self._errands.membership

    def commit(self, offsets: list[TopicPartition]) -> None:
        """Commit outside of a transaction, while somebody polls. Raises `KafkaException`."""
        self._errands.commit(offsets)

    def renew(self) -> None:
        """Leave the group, join it anew and go on from its offsets, before the next rows. `poll` does it."""
        self._renewing = True
        self.owned = frozenset()

    def pause(self, partitions: Collection[str]) -> None:
        """See `streamad.ports.SharedSource.pause`."""
        self._pauses.stop(int(name.rpartition("/")[2]) for name in partitions)

    def figures(self, positions: Positions) -> SourceFigures:
        """See `streamad.ports.WatchedSource.figures`."""
        paused = self.owned.intersection(self._names(self._pauses.stopped))
        return self._gauge.figures(positions, paused=paused, away=self._events.away)

    def poll(self, max_rows: int, timeout: float) -> Block | Idle | Revoked:
        """See `streamad.ports.Source.poll`."""
        with self._busy, kafka_errors(f"reading topic {self._topic.name}", self._events):
            if self._renewing or (self._gauge.stuck and not self._alone):
                return self._start_over(replace(self._topic, connection=self._reconnect()))
            if not self._joined:
                self._join()
            got = self._consume(max_rows, timeout)
            self._errands.run(self._consumer)
            self._take(got)
            if self._problem is not None:
                raise self._problem
            self._topic.id.look()
            self._topic_id = self._topic_id or self._topic.id.known
            if self._assigned and self._topic.id.is_another(self._topic_id):
                return self._go_over()
            gone = self._drop_gone()
            if gone and not self._alone:
                return Revoked(gone)
            handed = self._hand_out(max_rows) if max_rows else Idle()
            spans = {number: self._spans[number] for number in self._assigned}
            news, paused = isinstance(handed, Block), self._pauses.stopped
            self._gauge.polled(self._consumer, spans, news=news, paused=paused)
            return handed

    def seek(self, positions: Positions) -> None:
        """See `streamad.ports.Source.seek`."""
        with self._busy, kafka_errors(f"going back in topic {self._topic.name}", self._events):
            self._ahead.clear()
            named = self._topic.offsets_of(positions, alone=self._alone)
            if self._alone:
                self._named = named
            for number, span in self._spans.items():
                lowest = 0 if self._alone else span.begun
                if span.begun >= 0 or (self._alone and number in named):
                    self._spans[number] = Span(begun=max(lowest, named.get(number, span.begun)))
                    if number in self._assigned:
                        self._topic.go(number, self._offset(number))

    def progress(self) -> None:
        """See `streamad.ports.Source.progress`."""

    def close(self) -> None:
        """See `streamad.ports.Source.close`. Leaves the group, so that the others go on at once."""
        self._closing = True
        if self._busy.acquire(timeout=CLOSE_SECONDS):  # else a poll is stuck, and ends with the process
            leave(self._consumer)
            self._busy.release()

    # ---- membership: the three callbacks run within `consume` and `close` ------------------------------

    def _join(self) -> None:
        if self._events.group_refusal is not None:
            self._topic.heed(self._events.group_refusal)
        self._consumer.subscribe(
            [self._topic.name], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        self._joined = True

    def _start_over(self, topic: RecordTopic) -> Revoked:
        gone = Revoked(self._names(self._assigned))
        old, self._renewing, self._joined = self._consumer, False, False
        self._topic, self._topic_id = topic, topic.id.known
        self._consumer, self._events = self._topic.connection.client, self._topic.connection.events
        leave(old)
        self._assigned, self._spans, self._ahead = set(), {}, []
        self._pauses.begin_anew()
        self.owned, self._gauge = frozenset(), Gauge(self._topic.name)
        return gone

    def _go_over(self) -> Revoked | Idle:
        """Another topic has the name now. What was read of the old one is committed or dropped before."""
        member = None if self._alone else self._consumer
        if member is not None:
            names = self._names(self._assigned)
            self._errands.run_during(member, lambda: self._release(names))
        read = {number: self._offset(number) for number in sorted(self._assigned)}
        found = go_over(self._topic, self._reconnect, read, self._topic_id, member=member)
        if found is None:
            return Idle()
        gone = self._start_over(found.topic)
        self._named = found.offsets if self._alone else {}
        return Idle() if self._alone else gone

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._alone and not self._spans and len(partitions) < len(self._topic.partitions):
            self._problem = self._topic.not_alone()
        self._topic.id.ask()
        for partition in partitions:
            self._spans.setdefault(partition.partition, Span())
            partition.offset = self._offset(partition.partition)
            self._assigned.add(partition.partition)
            self._pauses.forget(partition.partition)
        consumer.incremental_assign(partitions)
        self._gauge.settled = True
        self.owned = frozenset(self._names(self._assigned))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is not self._consumer:
            return
        if not (self._alone or self._closing):
            names = self._names(partition.partition for partition in partitions)
            self._errands.run_during(consumer, lambda: self._release(names))
        self._forget(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is not self._consumer:
            return
        names = self._names(partition.partition for partition in partitions)
        if not self._events.away:
            _log.warning(
                "partitions_lost", why="the group had not heard of us for too long", partitions=names
            )
        self._gauge.unsettle()
        self._forget(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        numbers = {partition.partition for partition in partitions}
        self._assigned -= numbers
        self._gone |= numbers
        if not self._alone:
            self._spans = {number: span for number, span in self._spans.items() if number not in numbers}
        self.owned = frozenset(self._names(self._assigned))

    def _drop_gone(self) -> tuple[str, ...]:
        """Drop what was read ahead of partitions that were taken away, and return these.

        One that has come back within the same poll begins once more, as what was read of it before and after is mixed.
        """
        gone, self._gone = self._gone, set()
        if gone:
            self._ahead = [message for message in self._ahead if message.partition() not in gone]
        for number in gone & self._spans.keys():
            self._spans[number] = replace(self._spans[number], end=-1) if self._alone else Span()
            if number in self._assigned:
                self._topic.assign_again(number, self._offset(number))
        return self._names(gone)

    def _names(self, numbers: Iterable[int]) -> tuple[str, ...]:
        return tuple(partition_name(self._topic.name, number) for number in sorted(numbers))

    # ---- places ----------------------------------------------------------------------------------------

    def _offset(self, number: int) -> int:
        """Where a partition goes on behind what was handed out of it; `OFFSET_INVALID`: where the group says."""
        span = self._spans[number]
        known = max(span.begun, span.handed)
        return known if known >= 0 else self._named.get(number, OFFSET_INVALID)

    # ---- reading ---------------------------------------------------------------------------------------

    def _consume(self, max_rows: int, timeout: float) -> list[Message]:
        """What came, at most `max_rows` with what was read ahead; for 0 rows a little is read ahead."""
        full = max_rows == 0 and len(self._ahead) >= _AHEAD
        self._pauses.tell(self._consumer, self._assigned, all_of_them=full)
        room = max_rows - len(self._ahead)
        return self._consumer.consume(max(room, 1), 0 if room <= 0 < max_rows else timeout)

    def _take(self, got: list[Message]) -> None:
        """Heed what is no record, and put the rest to what was read ahead."""
        notes = [message for message in got if message.error()] if any(map(Message.error, got)) else []
        got = [message for message in got if not message.error()] if notes else got
        note_begun(self._spans, got)
        for note in notes:
            self._heed(note)
        self._ahead += got
        if got:
            self._events.answered()
        if not got and self._events.refusal is not None:
            raise self._events.refusal

    def _heed(self, note: Message) -> None:
        """What the client says in a message's place."""
        error, number, offset = note.error(), note.partition(), note.offset()
        assert error is not None
        if error.code() == KafkaError._PARTITION_EOF:
            self._end(number, offset)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._begin(number, offset)
        else:
            self._topic.heed_or_wait(error)

    def _end(self, number: int | None, offset: int | None) -> None:
        span = self._spans.get(number or 0)
        if span is not None and number in self._assigned:
            span.end = offset or 0
            span.begun = span.end if span.begun < 0 else span.begun

    def _begin(self, number: int | None, lost: int | None) -> None:
        """The group has no offset for a partition, or there is nothing at the offset."""
        if number not in self._assigned:
            return
        try:
            offset = self._offset(number) if lost is None else self._instead(number, lost)
            if offset == OFFSET_INVALID:
                offset = self._topic.first_offset(number, keep=not self._alone)
        except OutOfTouchError:  # the client tells again, once they are back
            offset = OFFSET_INVALID if lost is None else lost
        self._topic.assign_again(number, offset)

    def _instead(self, number: int, lost: int) -> int:
        self._topic.id.ask()
        if self._topic.id.is_another(self._topic_id):
            return lost  # `poll` goes over to that
        offset = self._topic.offset_instead(number, lost, self._topic_id)
        self._spans[number] = Span(begun=offset)
        return offset

    def _hand_out(self, max_rows: int) -> Block | Idle:
        rows, self._ahead = self._ahead[:max_rows], self._ahead[max_rows:]
        ends = {n: p.end for n, p in self._spans.items() if p.end > p.handed and not self._ahead}
        if not rows and not ends:
            return Idle()
        block = self._topic.block(rows, ends)
        for number, span in self._spans.items():
            cursor = block.cursors.get(partition_name(self._topic.name, number))
            span.handed = span.handed if cursor is None else cursor["offset"]
        return block
