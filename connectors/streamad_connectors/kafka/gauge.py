"""How a reader of a topic stands, by what the client has heard anyway."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from streamad.ports import Positions, SourceFigures
from streamad_connectors.kafka.payloads import partition_name

_LOOK_SECONDS = 0.2
_ASK_SECONDS = 0.2

_STUCK_SECONDS = 120.0
"""A client that was told of no brokers may never find any again (librdkafka's issue 5301); another one does."""


@dataclass(slots=True)
class Span:
    """How far an assigned partition was read. Offsets, -1 for none yet."""

    begun: int = -1
    """The first that was read since it was assigned, or gone back to since."""
    handed: int = -1
    """The one behind what was handed out."""
    end: int = -1
    """Where the partition ended, behind everything that was read by then."""


def note_begun(spans: Mapping[int, Span], got: Iterable[Message]) -> None:
    """Note the first message of each partition that had none."""
    new: dict[int | None, Span] = {n: span for n, span in spans.items() if span.begun < 0}
    for message in got if new else ():
        if (span := new.pop(message.partition(), None)) is not None:
            span.begun = message.offset() or 0


@dataclass(slots=True)
class Gauge:
    """Kept by the thread that polls, asked by any: what it holds is replaced, never changed."""

    topic: str
    settled: bool = False
    unsettled_at: float = field(default_factory=time.monotonic)
    polled_at: float = field(default_factory=time.monotonic)
    _bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Where reading began and where the records end, by partition."""
    _silent: tuple[str, ...] = ()
    """Partitions of which either is not known."""
    _looked_at: float = 0.0

    @property
    def stuck(self) -> bool:
        """Whether it is not known for long which partitions to read."""
        return not self.settled and time.monotonic() - self.unsettled_at > _STUCK_SECONDS

    def unsettle(self) -> None:
        """It is no longer known which partitions to read."""
        self.settled, self.unsettled_at = False, time.monotonic()

    def polled(
        self, consumer: Consumer, spans: Mapping[int, Span], *, news: bool, paused: Collection[int] = ()
    ) -> None:
        """Note that somebody reads, and, when something came or now and then, how far the assigned partitions go."""
        self.polled_at = time.monotonic()
        if news or self.polled_at - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = self.polled_at
            bounds = {
                partition_name(self.topic, n): (span.begun, self._end(consumer, n, span, ask=n in paused))
                for n, span in sorted(spans.items())
            }
            self._bounds = {name: ends for name, ends in bounds.items() if min(ends) >= 0}
            self._silent = tuple(name for name in bounds if name not in self._bounds)

    def figures(self, positions: Positions, *, paused: Collection[str] = (), away: bool) -> SourceFigures:
        """See `streamad.ports.WatchedSource.figures`."""
        lag = {
            name: max(0, end - (int(positions[name]["offset"]) if name in positions else begun))
            for name, (begun, end) in self._bounds.items()
        }
        return SourceFigures(
            self.polled_at, self.settled, lag, tuple(sorted(paused)), away, silent=self._silent
        )

    def _end(self, consumer: Consumer, number: int, span: Span, *, ask: bool) -> int:
        """Behind the last record, as the last fetch told: the end that was met, where what lies behind is still open.

        Of a partition of which nothing is fetched only the broker knows: `ask` it, unless it is away.
        """
        if not ask and span.end >= 0 and span.end >= span.handed:
            return span.end
        partition = TopicPartition(self.topic, number)
        for cached in (False, True) if ask else (True,):
            with suppress(KafkaException):  # a client that is only just starting knows nothing
                if bounds := consumer.get_watermark_offsets(partition, _ASK_SECONDS, cached=cached):
                    return bounds[1]
        return span.end if ask else -1
