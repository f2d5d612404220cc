"""What Kafka lacks for records to be read, found out before the start and without a trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streamad.errors import UserError, WorldError
from streamad.ports import Finding
from streamad_connectors.kafka.connection import (
    PATIENCE,
    Connection,
    Right,
    check_reachable,
    connect,
    kafka_errors,
    lacking,
    missing_rights,
)
from streamad_connectors.kafka.settings import KafkaClient, admin_settings, member_settings

_NO_PARTITION = 2**31 - 1

_WELL = {None, "UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED"}
"""Answers of a broker that has nothing against the group."""

_STARTING = {"COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS", "_WAIT_COORD"}
_TURN = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """A topic of records and who reads it."""

    client: KafkaClient
    folder: Path
    """The config's."""
    topic: str
    group: str | None
    """None for who is in no group."""


def check_reading(reading: Reading) -> list[Finding]:
    """Brokers, the topic, and the rights to read it. Raises `UserError` for refused credentials, `WorldError`."""
    admin = reached(reading.client, reading.folder)
    found = [ok(f"brokers {reading.client.brokers}: reached by {admin.user}")]
    return [*found, *_check_records(admin, reading)]


def _check_records(admin: Connection[AdminClient], reading: Reading) -> Iterator[Finding]:
    try:
        check_reachable(admin, [reading.topic])
    except UserError as error:
        yield problem(f"{error}: make it, or mend source.topic" if "not exist" in str(error) else str(error))
        return
    with kafka_errors(f"asking for topic {reading.topic}", admin.events):
        known = admin.client.list_topics(reading.topic, PATIENCE).topics[reading.topic]
    count = len(known.partitions)
    yield ok(f"topic {reading.topic}: {count} partition{'s'[: count > 1]}")
    yield from check_rights_on(admin, [Right("Read", "topic", reading.topic)])
    if reading.group is not None:
        yield from check_group(admin, reading)


def check_group(admin: Connection[AdminClient], reading: Reading) -> Iterator[Finding]:
    """Whether offsets may be committed for a group, and a member join it."""
    group = str(reading.group)
    deadline = time.monotonic() + PATIENCE
    while (name := _answer(admin, reading, group)) in _STARTING and time.monotonic() < deadline:
        time.sleep(_TURN)
    if name in _WELL:
        yield ok(f"group {group}: Read")
    elif name == "GROUP_AUTHORIZATION_FAILED":
        yield problem(str(lacking(Right("Read", "group", group), admin.user)))
    else:
        raise WorldError(f"asking for group {group}: {name}")


def _answer(admin: Connection[AdminClient], reading: Reading, group: str) -> str | None:
    """The error's name that a commit for the group is answered with.

    It is that of a partition that there is not, so a broker, which looks at the rights first, changes nothing. The
    client would ask on and on for the coordinator of a group that it may not see, so that is asked before.
    """
    (answer,) = admin.client.describe_consumer_groups([group], request_timeout=PATIENCE).values()
    name = _error(answer.result)
    if name not in {None, "GROUP_ID_NOT_FOUND"}:  # a group comes into being with its first member
        return name
    settings = member_settings(reading.client, reading.folder) | {"group.id": group}
    consumer = connect(reading.client, Consumer, settings).client
    place = TopicPartition(reading.topic, _NO_PARTITION, 0)
    try:
        return _error(lambda: consumer.commit(offsets=[place], asynchronous=False))
    finally:
        consumer.close()


def _error(call: Callable[[], object]) -> str | None:
    """The name of the error that a call ends with."""
    try:
        call()
    except KafkaException as failed:
        return str(failed.args[0].name())
    return None


def check_rights_on(
    admin: Connection[AdminClient], rights: Sequence[Right], gone: Collection[str] = ()
) -> list[Finding]:
    """Rights on topics that are there."""
    asked = [right for right in rights if right.name not in {*gone}]
    if lacks := missing_rights(admin, asked):
        return [problem(str(lacking(right, admin.user))) for right in lacks]
    told = ", ".join(f"{right.operation} on {right.name}" for right in asked)
    return [ok(f"rights: {told}")] if asked else []


def reached(client: KafkaClient, folder: Path) -> Connection[AdminClient]:
    """A client that a broker has answered. Raises `UserError` for refused credentials, `WorldError` without an answer."""
    admin = connect(client, AdminClient, admin_settings(client, folder))
    check_reachable(admin)
    return admin


def ok(text: str) -> Finding:
    """Something that was looked at."""
    return Finding("ok", text)


def problem(text: str) -> Finding:
    """Something that would end a start."""
    return Finding("problem", text)
