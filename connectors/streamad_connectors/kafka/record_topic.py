# ruff: noqa: SLF001 - the client names its own errors with an underscore
"""A topic of records: where reading begins in its partitions, and where it goes on when records are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from streamad.errors import InputError
from streamad.ports import Positions
from streamad.records.batch import Block
from streamad_connectors.kafka.connection import (
    MISSING,
    PATIENCE,
    Connection,
    check_reachable,
    kafka_errors,
    streamad_error,
)
from streamad_connectors.kafka.errands import commit_now
from streamad_connectors.kafka.payloads import Beside, block_of, partition_name
from streamad_connectors.kafka.topic_id import TopicId
from streamad_connectors.kafka.transactions import RegroupedError

_log = structlog.get_logger(__name__)

Start = Literal["committed", "earliest", "latest"] | datetime
OnLost = Literal["earliest", "latest", "stop"]

_REGROUPING = {"ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS", "UNKNOWN_MEMBER_ID"}
"""What a group says to a member that is about to hear of other partitions."""

ASK_SECONDS = 5.0
"""How long a broker that has just answered may take for one more answer."""


def partitions_of(connection: Connection[Consumer], topic: str, seconds: float = PATIENCE) -> tuple[int, ...]:
    """The partitions that a topic has now. Raises `UserError` and `WorldError` where it cannot be reached."""
    check_reachable(connection, [topic], seconds)
    with kafka_errors(f"asking for the partitions of topic {topic}", connection.events):
        known = connection.client.list_topics(topic, ASK_SECONDS).topics[topic]
    return tuple(sorted(known.partitions))


@dataclass(frozen=True, slots=True)
class RecordTopic:
    """A topic and how it is to be read; see `KafkaOptions`."""

    connection: Connection[Consumer]
    name: str
    id: TopicId
    group: str
    start: Start
    on_lost: OnLost
    partitions: tuple[int, ...]
    """Those that there were when it was opened."""
    record_bytes: int
    beside: Beside

    def block(self, messages: Sequence[Message], ends: Mapping[int, int]) -> Block:
        """See `block_of`. Cursors say as ``topic`` of which one they are (`Mark`)."""
        block = block_of(
            self.name, messages, ends, self.record_bytes, self.beside, generation=self.id.generation
        )
        if mark := self.id.mark(self.id.known):
            for cursor in block.cursors.values():
                cursor["topic"] = mark
        return block

    def place(self, partition: int, offset: int) -> TopicPartition:
        """An offset in a partition, for the client."""
        return TopicPartition(self.name, partition, offset)

    def go(self, partition: int, offset: int) -> None:
        """Read on from there in a partition that is assigned. Raises `KafkaException`."""
        try:
            self.connection.client.seek(self.place(partition, offset))
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise
            self.assign_again(partition, offset)  # the client is still looking for its offset

    def assign_again(self, partition: int, offset: int) -> None:
        """As `go`, also in a partition that the client had given up."""
        self.connection.client.incremental_unassign([self.place(partition, OFFSET_INVALID)])
        self.connection.client.incremental_assign([self.place(partition, offset)])

    def group_place(self, partition: int) -> TopicPartition:
        """The group's offset in a partition, below 0 where it has none; waits for what is pending.

        Its metadata is the mark of the topic that it was committed for.
        """
        with kafka_errors("asking for the group's offsets", self.connection.events):
            return self.connection.client.committed([self.place(partition, 0)], ASK_SECONDS)[0]

    def offsets_of(self, positions: Positions, *, alone: bool) -> dict[int, int]:
        """The offsets of positions, by partition.

        Positions in a topic that was deleted are left out, as the group has others, unless it is `alone`; then, too, those
        in partitions that came later, or that were gone when the feed went over to the topic that there is.
        """
        cursors = [
            (int(name.rpartition("/")[2]), int(cursor["offset"]), cursor.get("topic"))
            for name, cursor in positions.items()
        ]
        for _, _, mark in cursors:
            self.id.heed(mark)
        found = {number: offset for number, offset, mark in cursors if not self.id.is_another(mark)}
        gone_over = any(self.id.is_of(mark) for _, _, mark in cursors)
        for number, offset, mark in cursors if alone else ():
            passed = self.id.is_new(number) if number in self.partitions else gone_over
            if self.id.is_another(mark) and not passed and self.has(number, offset):
                found[number] = self.offset_instead(number, offset, mark)
        return found

    def has(self, partition: int, read: int) -> bool:
        """Whether there is a partition of which so much was read; a warning tells of one that went with its topic.

        Raises `InputError` where `on_lost` is to stop.
        """
        if partition in self.partitions:
            return True
        name = partition_name(self.name, partition)
        self._tell_lost(
            f"{name}@{read} is to be read next, but the topic was deleted and made anew since then, and has no such "
            "partition"
        )
        return False

    def first_offset(self, partition: int, *, keep: bool) -> int:
        """Where to begin in a partition that was not read here yet.

        With `keep`, what is decided here becomes the group's offset: whoever has the partition next begins there too, and
        not where it would end by then, also if nothing of what is read until then was committed. `OFFSET_INVALID` where
        the group does not take it, as it begins anew: ask again, if the partition stays.

        Raises `InputError` where only the group's offset was to be taken, else `UserError` and `WorldError`.
        """
        # Asked again: the client may tell late what was so when the partition was ours before.
        if (known := self.group_place(partition).offset) >= 0:
            return known
        offset = self.start_offset(partition)
        if offset < 0:
            first, end = self.bounds(partition)
            offset = first if offset == OFFSET_BEGINNING else end
        if keep:
            try:
                self.commit(self.connection.client, {partition: offset}, self.id.known)
            except RegroupedError:
                return OFFSET_INVALID
        return offset

    def commit(self, member: Consumer, offsets: Mapping[int, int], topic_id: str | None) -> None:
        """Commit offsets of the topic with this id, by partition; for who may use the consumer.

        Raises `RegroupedError` where the group does not take it now, else `UserError` and `WorldError`.
        """
        mark = self.id.mark(topic_id)
        places = [TopicPartition(self.name, *place, mark) for place in offsets.items()]
        try:
            if places:
                commit_now(member, places)
        except KafkaException as failed:
            error = failed.args[0]
            meant = streamad_error(error, f"committing offsets of topic {self.name}", self.connection.events)
            raise (RegroupedError(str(meant)) if error.name() in _REGROUPING else meant) from None

    def start_offset(self, partition: int) -> int:
        """Where to begin in a partition for which the group has no offset; may be one of Kafka's `OFFSET_...`.

        Raises `InputError` where only the group's offset was to be taken, or where `on_lost` is to stop at a topic that was
        made anew: its group's offsets went with it.
        """
        if self.id.is_new(partition):  # and with it all its records
            return OFFSET_BEGINNING
        if self.id.replaced:
            first, end = self.bounds(partition)
            return self._going_on(
                f"{partition_name(self.name, partition)} is to be read, but the topic was deleted and made anew since "
                f"the feed began with it, and holds {first} up to {end} there",
                first,
                end,
            )
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
        asked = self.place(partition, max(round(moment.timestamp() * 1000), 0))
        with kafka_errors(f"asking topic {self.name} for {moment}", self.connection.events):
            return self.connection.client.offsets_for_times([asked], ASK_SECONDS)[0].offset

    def offset_instead(self, partition: int, lost: int, mark: str | None) -> int:
        """Where to go on in a partition that does not hold the offset `lost`; a warning tells of it.

        It says how many offsets are passed over, nearly all of them records, where that is known. The offset is one of the
        topic with this mark or id, if known: another one may have its name by now, whose records positions then tell from those
        of the old one. Raises `InputError` where `on_lost` is to stop.
        """
        self.id.ask()
        first, end = self.bounds(partition)
        anew = self.id.is_another(mark)
        topic = "the topic was deleted and made anew since then, and" if anew else "the topic"
        name = partition_name(self.name, partition)
        what = f"{name}@{lost} is to be read next, but {topic} holds {first} up to {end} there"
        going_on = self._going_on(what, first, end, None if anew else lost)
        self.id.anew |= anew
        return going_on

    def _going_on(self, why: str, first: int, end: int, lost: int | None = None) -> int:
        """The offset that `on_lost` says, told with how many it is behind `lost`, where that is known."""
        offset = first if self.on_lost == "earliest" else end
        passed = None if lost is None or offset < lost else offset - lost
        self._tell_lost(why, records=passed, going_on_at=offset)
        return offset

    def _tell_lost(self, why: str, **told: int | None) -> None:
        """Raises `InputError` where `on_lost` is to stop."""
        if self.on_lost == "stop":
            raise InputError(f"{why}; source.on_lost: earliest or latest would go on with what it holds")
        _log.warning("records_lost", why=why, **told)

    def not_alone(self) -> InputError:
        """What ends a reader that may have no other beside it in the group."""
        return InputError(
            f"group {self.group} has another member on topic {self.name}, and a state directory is for one reader: "
            "end the other one, choose another source.group, or keep the state in Kafka"
        )

    def mend_group(self, asking: Connection[Consumer]) -> None:
        """Where the group's offsets are of a topic that was deleted, commit those to go on from.

        `asking` names the group without joining it, and waits for no pending offsets: those were committed for the
        topic that there is. Raises `InputError` where `on_lost` is to stop.
        """
        places = [self.place(number, 0) for number in self.partitions]
        try:
            known = asking.client.committed(places, ASK_SECONDS)
        except KafkaException:  # who joins the group hears why
            return
        for place in known:
            self.id.heed(place.metadata)
        instead = {
            place.partition: self.offset_instead(place.partition, place.offset, place.metadata)
            for place in known
            if place.offset >= 0 and self.id.is_another(place.metadata)
        }
        if instead:
            mark = self.id.mark(self.id.known)
            places = [TopicPartition(self.name, number, offset, mark) for number, offset in instead.items()]
            with suppress(KafkaException):  # refused in a group that has members: these have done it
                asking.client.commit(offsets=places, asynchronous=False)

    def bounds(self, partition: int) -> tuple[int, int]:
        """(offset of the first record, the offset behind all that may be read) of a partition."""
        with kafka_errors(f"asking topic {self.name} for its end", self.connection.events):
            found = self.connection.client.get_watermark_offsets(self.place(partition, 0), ASK_SECONDS)
        assert found is not None
        return found

    def heed_or_wait(self, error: KafkaError) -> None:
        """As `heed`, but a topic that was there and is gone is waited for: `on_lost` counts once there is one again."""
        if error.name() in MISSING and self.id.known is not None:
            self.connection.events.missing(self.name)
        else:
            self.heed(error)

    def heed(self, error: KafkaError) -> None:
        """What the client says in a message's place and does not mend by itself. Raises what ends the reading."""
        if not error.retriable() and error.code() != KafkaError._MAX_POLL_EXCEEDED:  # joins again by itself
            raise streamad_error(error, f"reading topic {self.name}", self.connection.events)
        self.connection.events.on_error(error)
