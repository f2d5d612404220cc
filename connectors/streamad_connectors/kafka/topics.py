"""The topics of a feed's cluster: what each must be like, making the missing ones, saying what is wrong with others."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]  # not said to be public

from streamad.errors import WorldError
from streamad_connectors.kafka.connection import PATIENCE, Connection, kafka_errors, streamad_error
from streamad_connectors.kafka.events import in_words

SMALLEST_MESSAGE = 128 << 10
"""Bytes that a message of the models' and the control topic must be allowed at least. A model is described in one
message, the longer the smaller its chunks are: with these, one of a gigabyte still fits."""

_NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED}

Settings = Mapping[str, str]


class Topics(NamedTuple):
    """The name of each topic."""

    alerts: str
    rejected: str
    candidates: str
    labels: str
    models: str
    control: str


class Shape(NamedTuple):
    """What a topic must be like."""

    partitions: int
    """-1: as many as the broker gives a new topic, or more."""
    settings: Settings


def required_settings() -> dict[str, Shape]:
    """The shape of each field of `Topics`."""
    passing = Shape(-1, {"cleanup.policy": "delete"})
    kept = Shape(1, {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"})
    newest = Shape(1, {"cleanup.policy": "compact"})
    return {
        "alerts": passing,
        "rejected": passing,
        "candidates": passing,
        "labels": kept,
        "models": newest,
        "control": newest,
    }


def create_missing(admin: Connection[AdminClient], topics: Topics, replication: int = -1) -> list[str]:
    """Make those that do not exist, with `replication` copies (-1: as many as the broker gives a new topic).

    Returns their names, when all brokers' partitions have leaders. Raises `UserError` and `WorldError`.
    """
    wanted = _new(topics, missing(admin, topics), replication)
    if not wanted:
        return []
    answers = admin.client.create_topics(wanted, request_timeout=PATIENCE)
    for name, answer in answers.items():
        with kafka_errors(f"making topic {name}", admin.events):
            _await_made(answer)
    _await_leaders(admin, [*answers])
    return [*answers]


def missing(admin: Connection[AdminClient], topics: Topics) -> list[str]:
    """Those that do not exist, or may not be seen. Raises `UserError` and `WorldError`."""
    known = _known(admin)
    return [name for name in topics if name not in known]


def why_not_made(
    admin: Connection[AdminClient], topics: Topics, names: Collection[str]
) -> dict[str, str | None]:
    """Of each of these topics why the brokers would not make it, None where they would. Makes none."""
    if not names:
        return {}
    answers = admin.client.create_topics(
        _new(topics, names, -1), request_timeout=PATIENCE, validate_only=True
    )
    reasons: dict[str, str | None] = dict.fromkeys(names)
    for name, answer in answers.items():
        try:
            answer.result()
        except KafkaException as failed:
            reasons[name] = in_words(failed.args[0].str(), admin.events.secrets)
    return reasons


def _new(topics: Topics, names: Collection[str], replication: int) -> list[NewTopic]:
    shapes = _shapes(topics)
    return [
        NewTopic(name, shapes[name].partitions, replication, config=dict(shapes[name].settings))
        for name in names
    ]


def _await_made(answer: Future[None]) -> None:
    """Another process may have been faster."""
    try:
        answer.result()
    except KafkaException as failed:
        if failed.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _await_leaders(admin: Connection[AdminClient], names: Sequence[str]) -> None:
    """A new topic is not known to all brokers at once."""
    deadline = time.monotonic() + PATIENCE
    while not all(_known(admin).get(name, 0) for name in names):
        if time.monotonic() > deadline:
            raise WorldError(f"the new topics {', '.join(names)} got no leaders within {PATIENCE:g} s")
        time.sleep(0.05)


def check(admin: Connection[AdminClient], topics: Topics, apart: Collection[str] = ()) -> list[str]:
    """What is wrong with them, apart from some, each problem in one sentence with its remedy.

    Raises `WorldError` without an answer.
    """
    known = _known(admin)
    shapes = _shapes(topics)
    settings = topic_settings(admin, [name for name in shapes if name in known])
    problems: list[str] = []
    for name, shape in shapes.items():
        if name not in known and name not in apart:
            problems.append(_missing(name, shape))
        elif name in known and shape.partitions > 0:
            problems += _unlike(name, shape, known[name], settings[name])
    return problems


def _missing(name: str, shape: Shape) -> str:
    count = "1 partition" if shape.partitions > 0 else "as many partitions as you like"
    wanted = ", ".join(f"{key}={value}" for key, value in shape.settings.items())
    return (
        f"topic {name} does not exist, or may not be seen: "
        f"make it with {count} and {wanted}, or give the right Describe on it"
    )


def _unlike(name: str, shape: Shape, partitions: int, settings: Settings) -> list[str]:
    """Where a topic is not what it must be."""
    problems = []
    if partitions > shape.partitions:
        problems.append(
            f"topic {name} has {partitions} partitions, which keep no order: make it anew with one"
        )
    if not settings:
        return [
            *problems,
            f"the settings of topic {name} can not be checked: give the right DescribeConfigs on it",
        ]
    compacted = shape.settings["cleanup.policy"] == "compact"
    lost = "models in force" if compacted else "labels"
    problems += [
        f"topic {name} has {key}={settings[key]}, which would lose {lost}: set {key}={value}"
        for key, value in shape.settings.items()
        if settings[key] != value
    ]
    if compacted and int(settings["max.message.bytes"]) < SMALLEST_MESSAGE:
        problems.append(
            f"topic {name} has max.message.bytes={settings['max.message.bytes']}, too few for parts of a model: "
            f"set max.message.bytes={1 << 20}"
        )
    return problems


def topic_settings(admin: Connection[AdminClient], names: Sequence[str]) -> dict[str, Settings]:
    """The settings of each topic; none where this user may not see them. Raises `WorldError` and `UserError`."""
    if not names:
        return {}
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    answers = admin.client.describe_configs(asked, request_timeout=PATIENCE)
    found: dict[str, Settings] = {}
    for resource, answer in answers.items():
        try:
            found[resource.name] = {name: entry.value for name, entry in answer.result().items()}
        except KafkaException as failed:
            if failed.args[0].code() not in _NO_TOPIC:
                doing = f"reading the settings of topic {resource.name}"
                raise streamad_error(failed.args[0], doing, admin.events) from None
            found[resource.name] = {}
    return found


def _known(admin: Connection[AdminClient]) -> dict[str, int]:
    """The topics that this user can see, and how many partitions with a leader each has."""
    with kafka_errors("asking for topics", admin.events):
        found = admin.client.list_topics(timeout=PATIENCE)
    return {
        name: sum(partition.leader >= 0 for partition in topic.partitions.values())
        for name, topic in found.topics.items()
    }


def _shapes(topics: Topics) -> dict[str, Shape]:
    """By the topics' names."""
    return dict(zip(topics, required_settings().values(), strict=True))
