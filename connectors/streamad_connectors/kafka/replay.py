# ruff: noqa: SLF001 - the client names its own errors with an underscore
"""A topic read from its start to where it ended when the replay began, one partition after the other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from confluent_kafka import OFFSET_END, KafkaError, Message

from streamad.ports import End, Idle, Positions
from streamad.records.batch import Block
from streamad_connectors.kafka.connection import kafka_errors
from streamad_connectors.kafka.record_topic import RecordTopic
from streamad_connectors.lines import BLOCK_BYTES

_PIECE = 500
"""Messages taken at once, so that large ones stay in bounds."""


@dataclass(slots=True)
class _Span:
    """The part of a partition that is still to be read: offsets from `at` up to `end`."""

    number: int
    start: int
    at: int
    end: int

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self.at >= self.end


class KafkaReplay:
    """A bounded source, a member of no group. A cursor is ``{"offset": next}``."""

    def __init__(self, topic: RecordTopic) -> None:
        """Ask where the partitions begin and end. Raises `StreamadError` for what Kafka answers."""
        self._topic = topic
        self._consumer = topic.connection.client
        self._ahead: list[Message] = []
        self._bytes = 0  # of what is ahead
        self._current = -1  # the place in `_spans` of the partition that is assigned
        self._bounds = {number: topic.bounds(number) for number in topic.partitions}
        self._starts = {number: self._start(number) for number in topic.partitions}
        self.seek({})

    def _start(self, number: int) -> int:
        first, end = self._bounds[number]
        if self._topic.start == "earliest":
            return first
        if self._topic.start == "committed":
            found = self._topic.group_place(number)
            if found.offset >= 0:
                return self._within(number, found.offset, found.metadata)
        offset = self._topic.start_offset(number)
        return end if offset == OFFSET_END else offset

    def _within(self, number: int, offset: int, mark: str | None) -> int:
        first, end = self._bounds[number]
        self._topic.id.heed(mark)
        if first <= offset <= end and not self._topic.id.is_another(mark):
            return offset
        return self._topic.offset_instead(number, offset, mark)

    def poll(self, max_rows: int, timeout: float) -> Block | Idle | End:
        """See `streamad.ports.Source.poll`."""
        with kafka_errors(f"reading topic {self._topic.name}", self._topic.connection.events):
            while max_rows and self._current < len(self._spans):
                rows = self._full(max_rows)
                if rows:
                    return self._hand_out(rows)
                if self._current < 0 or self._spans[self._current].over:
                    self._next_partition()
                elif not self._read(min(_PIECE, max_rows - len(self._ahead)), timeout):
                    return Idle()
        return End() if max_rows else Idle()

    def seek(self, positions: Positions) -> None:
        """See `streamad.ports.Source.seek`."""
        offsets = dict(self._starts)
        for name, cursor in positions.items():
            number = int(name.rpartition("/")[2])
            if self._topic.has(number, cursor["offset"]):
                offsets[number] = self._within(number, cursor["offset"], cursor.get("topic"))
        self._spans = [_Span(n, self._starts[n], offset, self._bounds[n][1]) for n, offset in offsets.items()]
        self._ahead, self._bytes, self._current = [], 0, -1

    def progress(self) -> float:
        """See `streamad.ports.Source.progress`. Counted in offsets; asked by any thread."""
        spans = self._spans
        total = sum(span.end - span.start for span in spans)
        return sum(min(span.at, span.end) - span.start for span in spans) / total if total else 1.0

    def close(self) -> None:
        """See `streamad.ports.Source.close`."""
        self._consumer.close()

    def _full(self, max_rows: int) -> int:
        """How many rows the next block has: 0 while there may come more, or none are left of the partition."""
        if len(self._ahead) < max_rows and self._bytes < BLOCK_BYTES:
            over = self._current >= 0 and self._spans[self._current].over
            return len(self._ahead) if over else 0
        sizes = accumulate(map(len, self._ahead))
        heavy = next((row for row, size in enumerate(sizes, 1) if size >= BLOCK_BYTES), max_rows)
        return min(heavy, max_rows)

    def _hand_out(self, rows: int) -> Block:
        taken, self._ahead = self._ahead[:rows], self._ahead[rows:]
        self._bytes -= sum(map(len, taken))
        return self._topic.block(taken, {})

    def _next_partition(self) -> None:
        self._current += 1
        if self._current < len(self._spans):
            span = self._spans[self._current]
            self._consumer.assign([self._topic.place(span.number, span.at)])

    def _read(self, count: int, timeout: float) -> bool:
        """Whether anything came."""
        got, span = self._consumer.consume(count, timeout), self._spans[self._current]
        for message in got:
            if message.topic() is not None and message.partition() != span.number:
                continue  # left over from the partition before
            if (error := message.error()) is not None:
                self._heed(error, span, message.offset())
            elif (offset := message.offset() or 0) < span.end:
                self._ahead.append(message)
                self._bytes += len(message)
                span.at = offset + 1
            else:
                span.at = span.end  # the last offsets before the end were no records
        return bool(got)

    def _heed(self, error: KafkaError, span: _Span, offset: int | None) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            span.at = span.end
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            span.at = self._topic.offset_instead(span.number, offset or 0, self._topic.id.known)
            self._consumer.assign([self._topic.place(span.number, span.at)])
        elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # in no group, no right on one is needed
            self._topic.heed(error)
