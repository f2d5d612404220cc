"""How a feed's cluster is doing, as its groups and its topic of records say."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # two of them are not said to be public
    AdminClient,
    ConsumerGroupDescription,
    MemberDescription,
)

from streamad.ports import Standing
from streamad_connectors.kafka.connection import (
    PATIENCE,
    Connection,
    check_reachable,
    connect,
    kafka_errors,
    streamad_error,
)
from streamad_connectors.kafka.payloads import partition_name
from streamad_connectors.kafka.settings import KafkaClient, admin_settings, consumer_settings
from streamad_connectors.kafka.topic_reader import ALONE

_NOBODY, _HIDDEN = "GROUP_ID_NOT_FOUND", "GROUP_AUTHORIZATION_FAILED"


def overview(
    options: KafkaClient, folder: Path, records: str, group: str, trainers: tuple[str, str]
) -> Standing:
    """How far the `group` of scorers is in the topic of `records`, and who is there.

    `trainers` is the trainers' group and the topic whose partition 0 the active one owns. Raises `UserError` and
    `WorldError`.
    """
    settings = consumer_settings(options, folder) | ALONE | {"group.id": group}
    connection = connect(options, Consumer, settings)
    try:
        check_reachable(connection, [records])
        lag, begun = _lag(connection, records)
    finally:
        connection.client.close()
    admin = connect(options, AdminClient, admin_settings(options, folder))
    scorers, teaching = _members(admin, group), _members(admin, trainers[0])
    return Standing(
        topic=records,
        group=group,
        lag=lag,
        begun=begun,
        scorers=None if scorers is None else len(scorers),
        trainers=None if teaching is None else len(teaching),
        active=None if teaching is None else any(_owns(member, trainers[1]) for member in teaching),
    )


def _lag(connection: Connection[Consumer], records: str) -> tuple[dict[str, int], bool]:
    """Of each partition how many offsets are left to the group, and whether it has begun with any."""
    consumer, lag, begun = connection.client, dict[str, int](), False
    with kafka_errors(f"asking for the group's place in topic {records}", connection.events):
        numbers = sorted(consumer.list_topics(records, PATIENCE).topics[records].partitions)
        places = consumer.committed([TopicPartition(records, number) for number in numbers], PATIENCE)
        for place in places:
            asked = TopicPartition(records, place.partition)
            first, end = consumer.get_watermark_offsets(asked, PATIENCE) or (0, 0)
            begun = begun or place.offset >= 0
            lag[partition_name(records, place.partition)] = max(0, end - max(first, place.offset))
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
