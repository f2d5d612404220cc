"""A source outside of Kafka, such as files, whose place Kafka keeps: it moves together with what came of it."""

from __future__ import annotations

import json
import time
import zlib
from base64 import b85decode, b85encode
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamad.errors import CommitAbortedError, InputError, OutOfTouchError
from streamad.ports import End, Idle, Positions, Revoked, Source, SparingSource
from streamad.records.batch import Block, Cursor
from streamad_connectors.kafka.connection import Connection, connect, streamad_error
from streamad_connectors.kafka.messages import compact
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings, producer_settings
from streamad_connectors.kafka.sink import KafkaSink, sizes
from streamad_connectors.kafka.topics import Topics
from streamad_connectors.kafka.transactions import Transactions

_FORMAT = 1
_LARGEST = 1 << 20
"""Bytes of all cursors as text: a broker keeps 4,096 compressed ones unless it is told to keep more."""

_ASK_SECONDS = 1.0

_SAY_AGAIN_SECONDS = 3600.0
"""Brokers forget an offset that was not committed for long (offsets.retention.minutes, a week by default)."""


class Place(NamedTuple):
    """How far the source was read."""

    number: int
    """How often that was said."""
    positions: dict[str, Cursor]


class KeptSource:
    """Implements `streamad.ports.Source` around another one, and `sink.Places`.

    The place is an offset of the group for control's one partition, which every scorer may read. The offset counts, its
    metadata holds the cursors of all partitions. Nobody else moves it: before it is read, `take_up` silences whoever
    wrote under the transactional id until then, and ends what was left open.
    """

    def __init__(
        self,
        source: Source,
        reach: Callable[[], Connection[Consumer]],
        topic: str,
        take_up: Callable[[float], bool],
    ) -> None:
        """`reach` makes a consumer that names the group; `take_up` is `Transactions.take_up`."""
        self._source, self._reach, self._topic, self._take_up = source, reach, topic, take_up
        self._connection: Connection[Consumer] | None = None  # only while the place is asked for
        self._membership: object = None
        self._begun: Place | None = None  # as it was read
        self._place = Place(0, {})  # as of the last commit
        self._handed: dict[str, Cursor] = {}
        self._said_at = 0.0
        self._renewing = False

    # ---- the source ----------------------------------------------------------------------------

    def poll(self, max_rows: int, timeout: float) -> Block | Idle | End | Revoked:
        """See `streamad.ports.Source.poll`. Raises `UserError` for what Kafka refuses."""
        if self._renewing:
            self._renewing, self._begun = False, None
            return Revoked(tuple(sorted(self._handed)))
        if self._begun is None and not self._begin():
            return Idle()
        if max_rows and self._handed and time.monotonic() - self._said_at > _SAY_AGAIN_SECONDS:
            return self._again()
        got = self._source.poll(max_rows, timeout)
        if isinstance(got, Block):
            self._handed |= got.cursors
        return got

    def seek(self, positions: Positions) -> None:
        """See `streamad.ports.Source.seek`."""
        if self._begun is not None and not self._renewing:
            self._go(self._begun.positions | dict(positions))

    def progress(self) -> float | None:
        """See `streamad.ports.Source.progress`."""
        return self._source.progress()

    def close(self) -> None:
        """See `streamad.ports.Source.close`."""
        self._source.close()

    # ---- the place -----------------------------------------------------------------------------

    def group_metadata(self) -> object:
        """See `sink.Places.group_metadata`. It says no more than the group's name, since nobody joins it."""
        return self._membership

    def offsets(self, positions: Positions) -> list[TopicPartition]:
        """See `sink.Places.offsets`."""
        if not positions:
            return []
        if self._begun is None or self._renewing:
            raise CommitAbortedError("how far was read is being asked for")
        known = self._place.positions | dict(positions)
        if isinstance(self._source, SparingSource):
            known = dict(self._source.needed(known))
        self._place = Place(self._place.number + 1, known)
        self._said_at = time.monotonic()
        return [TopicPartition(self._topic, 0, self._place.number, written(known))]

    def renew(self) -> None:
        """See `sink.Places.renew`. `poll` does it."""
        self._renewing = True

    def _begin(self) -> bool:
        """Whether it is known where to go on, and nobody else goes on there."""
        if not self._take_up(_ASK_SECONDS):
            return False
        place = self._ask()
        if place is None:
            return False
        self._begun = self._place = place
        self._said_at = time.monotonic()
        self._go(place.positions)
        return True

    def _go(self, positions: dict[str, Cursor]) -> None:
        self._source.seek(positions)
        self._place = self._place._replace(positions=positions)
        self._handed = dict(positions)

    def _ask(self) -> Place | None:
        """The place that the group has, None where nobody answers. Raises `UserError`."""
        connection = self._connection = self._connection or self._reach()
        try:
            (found,) = connection.client.committed([TopicPartition(self._topic, 0)], _ASK_SECONDS)
            error = found.error
        except KafkaException as failed:
            error = failed.args[0]
        if error is not None:
            meant = streamad_error(error, "asking how far was read", connection.events)
            if error.retriable() or isinstance(meant, OutOfTouchError):
                return None
            raise meant
        connection.events.answered()
        self._membership = connection.client.consumer_group_metadata()
        connection.client.close()
        self._connection = None
        return Place(0, {}) if found.offset < 0 else Place(found.offset, read(found.metadata, self._topic))

    def _again(self) -> Block:
        """No rows, and a cursor that has not moved, so that the place is committed once more."""
        nothing, name = np.empty(0, np.int64), next(iter(self._handed))
        cursors = {name: self._handed[name]}
        self._said_at = time.monotonic()
        return Block(cursors, np.empty(0, np.uint8), nothing, nothing, nothing)


def open_kept(
    client: KafkaClient,
    folder: Path,
    topics: Topics,
    source: Source,
    *,
    group: str,
    transactional_id: str,
    on_step: Callable[[str], None] = lambda _step: None,
) -> tuple[KeptSource, KafkaSink]:
    """A source whose place the group keeps, and the sink that moves it; the topics are there.

    Raises `UserError` and `WorldError`. `on_step` is told each step of a commit, for tests.
    """
    limits, settings = sizes(client, folder, topics), producer_settings(client, folder)
    remedy = "it reads the same feed, which has one scorer"
    writer = Transactions(client, settings, limits, transactional_id, on_step, remedy=remedy)

    def reach() -> Connection[Consumer]:
        return connect(client, Consumer, consumer_settings(client, folder) | {"group.id": group})

    kept = KeptSource(source, reach, topics.control, writer.take_up)
    return kept, KafkaSink(kept, writer, topics, limits)


def written(positions: Positions) -> str:
    """Cursors as an offset's metadata."""
    return b85encode(zlib.compress(compact({"format": _FORMAT, "positions": positions}))).decode()


def read(metadata: str | None, topic: str) -> dict[str, Cursor]:
    """What `written` wrote. Raises `InputError` where it is something else."""
    try:
        text = zlib.decompressobj().decompress(b85decode(metadata or ""), _LARGEST)
        found = json.loads(text)
        if found["format"] == _FORMAT:
            return dict(found["positions"])
    except (ValueError, TypeError, KeyError, zlib.error):
        pass
    raise InputError(
        f"the group's offset for topic {topic} does not say how far was read: somebody else has moved it, or a newer "
        "streamad; without that offset reading begins at the beginning"
    )
