"""Source ``kafka``: a topic, read as a member of a consumer group; in a replay, from a start to its end."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from confluent_kafka import Consumer
from pydantic import AfterValidator, BeforeValidator, Field

from streamad.ports import Source, SourceContext, SourceOptions, SourcePlugin
from streamad_connectors.kafka.connection import Connection, check_reachable, connect, kafka_errors
from streamad_connectors.kafka.member import KafkaSource
from streamad_connectors.kafka.record_topic import ASK_SECONDS, OnLost, RecordTopic, Start
from streamad_connectors.kafka.replay import KafkaReplay
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings

_CONSUMER = {
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1000,
    "topic.metadata.refresh.interval.ms": 30_000,
}
"""A killed member's partitions, and new ones, are to be read soon. The config's ``client`` may say otherwise."""

_ALWAYS = {
    "partition.assignment.strategy": "cooperative-sticky",
    "auto.offset.reset": "error",  # `start` and `on_lost` decide
    "enable.partition.eof": True,
}


def _is_topic(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name):  # ^ would make a pattern of it, for many topics
        message = "a topic's name: letters, digits, dots, underscores, hyphens"
        raise ValueError(message)
    return name


def _as_start(value: object) -> object:
    try:
        words = ("committed", "earliest", "latest")
        moment = datetime.fromisoformat(value) if isinstance(value, str) and value not in words else value
        if moment in words or (isinstance(moment, datetime) and moment.tzinfo is not None):
            return moment
    except ValueError:
        pass
    message = "committed, earliest, latest or a time with its zone, such as 2026-01-01T00:00:00Z"
    raise ValueError(message)


class KafkaOptions(KafkaClient, SourceOptions):
    """Options of ``source`` with ``type: kafka``."""

    type: Literal["kafka"]
    topic: Annotated[str, AfterValidator(_is_topic)]
    group: str | None = Field(default=None, min_length=1)
    """The consumer group; ``streamad-FEED`` where none is named."""
    start: Annotated[Start, BeforeValidator(_as_start)] = "earliest"
    """Where to begin in a partition for which the group has no offset (``committed``: refuse to). A partition that
    is new is read from its beginning whatever this says."""
    on_lost: OnLost = "stop"
    """What to do where the next record was deleted, or the topic made anew."""
    format: Literal["csv", "kdd", "ndjson"] = "ndjson"
    header: Literal[False] = False
    """Messages have no header line: a CSV line's columns are in schema order."""


def open_member(options: KafkaOptions, context: SourceContext, *, alone: bool) -> KafkaSource:
    """A member of the group, see `KafkaSource`. Raises `UserError` and `WorldError`."""

    def reconnect() -> Connection[Consumer]:
        return _connect(options, context)

    topic = _topic(options, context, reconnect())
    return KafkaSource(topic, reconnect, context.release, alone=alone)


def _open(options: KafkaOptions, context: SourceContext) -> Source:
    if not context.bounded:
        return open_member(options, context, alone=True)
    return KafkaReplay(_topic(options, context, _connect(options, context)))


def _connect(options: KafkaOptions, context: SourceContext) -> Connection[Consumer]:
    named = {"group.id": _group(options, context)}
    settings = _CONSUMER | consumer_settings(options, context.folder) | _ALWAYS | named
    return connect(options, Consumer, settings)


def _group(options: KafkaOptions, context: SourceContext) -> str:
    return options.group or f"streamad-{context.feed}"


def _topic(options: KafkaOptions, context: SourceContext, connection: Connection[Consumer]) -> RecordTopic:
    """The topic with its present partitions. Raises `UserError` and `WorldError` where it cannot be read."""
    check_reachable(connection, [options.topic])
    with kafka_errors(f"asking for the partitions of topic {options.topic}", connection.events):
        known = connection.client.list_topics(options.topic, ASK_SECONDS).topics[options.topic]
    return RecordTopic(
        connection=connection,
        name=options.topic,
        group=_group(options, context),
        start=options.start,
        on_lost=options.on_lost,
        partitions=tuple(sorted(known.partitions)),
        record_bytes=context.record_bytes,
    )


plugin = SourcePlugin(options=KafkaOptions, open=_open)
