"""A topic that is deleted and made anew while it is read: how its readers go over to the new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from confluent_kafka import Consumer

from streamad.errors import OutOfTouchError, StreamadError
from streamad_connectors.kafka.connection import Connection
from streamad_connectors.kafka.record_topic import ASK_SECONDS, RecordTopic, partitions_of
from streamad_connectors.kafka.transactions import RegroupedError


@dataclass(frozen=True, slots=True)
class GoneOver:
    """The topic that there is now, and the offsets to go on at, by partition."""

    topic: RecordTopic
    offsets: dict[int, int]


def go_over(
    topic: RecordTopic,
    reconnect: Callable[[], Connection[Consumer]],
    read: Mapping[int, int],
    topic_id: str | None,
    *,
    member: Consumer | None,
) -> GoneOver | None:
    """Go over to the topic that has this one's name now, as its `on_lost` says, with another client.

    The present client may never see the new topic for the old one, that with this id, of which `read` tells how far each
    partition was read, below 0 where it is not known. As a `member` of a group it commits where to go on for all of it.
    None where the brokers or the group cannot be asked now: try again. Raises `InputError` where `on_lost` is to stop,
    else `UserError` and `WorldError`.
    """
    stop = topic.on_lost == "stop"
    # a member that was just given a partition does not know how far others read it, and is to stop all the same
    known = {number: max(offset, 0) for number, offset in read.items() if offset >= 0 or stop}
    connection = reconnect()
    try:
        now = _as_it_is(topic, connection)
        if member is not None and stop:
            # Brokers delete a group's offsets with their topic: who is started next is to be stopped by these, too.
            now.commit(member, {n: offset for n, offset in known.items() if n in now.partitions}, topic_id)
        now.id.anew |= not stop
        offsets = {
            number: now.offset_instead(number, offset, topic_id)
            for number, offset in known.items()
            if now.has(number, offset)
        }
        if member is not None:
            now.commit(member, offsets, now.id.known)
    except StreamadError as error:
        connection.client.close()
        if isinstance(error, OutOfTouchError | RegroupedError):
            return None
        raise
    return GoneOver(now, offsets)


def _as_it_is(topic: RecordTopic, connection: Connection[Consumer]) -> RecordTopic:
    """The new topic. Those of its partitions that the old one had not are read from the beginning."""
    there = partitions_of(connection, topic.name, ASK_SECONDS)
    topic.id.begun_with = min(topic.id.begun_with, len(there))
    return replace(topic, connection=connection, partitions=there)
