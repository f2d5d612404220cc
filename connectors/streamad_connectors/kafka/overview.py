"""How a feed's cluster is doing, as its groups say."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # two of them are not said to be public
    AdminClient,
    ConsumerGroupDescription,
    MemberDescription,
)

from streamad_connectors.kafka.checking import reached
from streamad_connectors.kafka.connection import (
    PATIENCE,
    Connection,
    check_reachable,
    connect,
    kafka_errors,
    streamad_error,
)
from streamad_connectors.kafka.payloads import partition_name
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings
from streamad_connectors.kafka.topic_id import TopicId
from streamad_connectors.kafka.topic_reader import ALONE

_NOBODY, _HIDDEN = "GROUP_ID_NOT_FOUND", "GROUP_AUTHORIZATION_FAILED"


def lag_of(options: KafkaClient, folder: Path, records: str, group: str) -> tuple[dict[str, int], bool]:
    """Of each partition of the topic of `records` how many offsets are left to the group, and whether it has begun.

    All of them where the group's offset is of a topic that was deleted.

    Raises `UserError` and `WorldError`.
    """
    settings = consumer_settings(options, folder) | ALONE | {"group.id": group}
    connection, topic_id = connect(options, Consumer, settings), TopicId(options, folder, records, 0)
    try:
        check_reachable(connection, [records])
        topic_id.ask()
        with kafka_errors(f"asking for the place of group {group} in topic {records}", connection.events):
            return _lag(connection.client, records, topic_id)
    finally:
        connection.client.close()


def scorers(options: KafkaClient, folder: Path, group: str) -> int | None:
    """How many there are; None where this user may not know. Raises `UserError` and `WorldError`."""
    members = _members(reached(options, folder), group)
    return None if members is None else len(members)


def trainers(options: KafkaClient, folder: Path, group: str, control: str) -> tuple[int | None, bool | None]:
    """How many there are, and whether one is active; None where this user may not know.

    Raises `UserError` and `WorldError`.
    """
    members = _members(reached(options, folder), group)
    if members is None:
        return None, None
    return len(members), any(_owns(member, control) for member in members)


def _lag(consumer: Consumer, records: str, topic_id: TopicId) -> tuple[dict[str, int], bool]:
    lag, begun = dict[str, int](), False
    numbers = sorted(consumer.list_topics(records, PATIENCE).topics[records].partitions)
    for place in consumer.committed([TopicPartition(records, number) for number in numbers], PATIENCE):
        asked = TopicPartition(records, place.partition)
        first, end = consumer.get_watermark_offsets(asked, PATIENCE) or (0, 0)
        begun = begun or place.offset >= 0
        read = 0 if topic_id.is_another(place.metadata) else place.offset
        lag[partition_name(records, place.partition)] = max(0, end - max(first, read))
    return lag, begun


def _members(admin: Connection[AdminClient], group: str) -> list[MemberDescription] | None:
    """Who is in a group; None where this user may not know."""
    (answer,) = admin.client.describe_consumer_groups([group], request_timeout=PATIENCE).values()
    try:
        found: ConsumerGroupDescription = answer.result()
    except KafkaException as failed:
        error = failed.args[0]
        if error.name() in {_NOBODY, _HIDDEN}:
            return [] if error.name() == _NOBODY else None
        raise streamad_error(error, f"asking for the members of group {group}", admin.events) from None
    return found.members


def _owns(member: MemberDescription, topic: str) -> bool:
    """Whether a member has the topic's partition 0."""
    return any((place.topic, place.partition) == (topic, 0) for place in member.assignment.topic_partitions)
