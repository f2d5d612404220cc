"""Source ``kafka``: a topic, read as a member of a consumer group; in a replay, from a start to its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from confluent_kafka import Consumer
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from streamad.ports import Finding, Sampling, Source, SourceContext, SourceOptions, SourcePlugin
from streamad.records.sample import Sample
from streamad_connectors.kafka.checking import Reading, check_reading
from streamad_connectors.kafka.connection import Connection, connect
from streamad_connectors.kafka.first_topic import Heed
from streamad_connectors.kafka.lookup import LOOKING_UP, KafkaLookup
from streamad_connectors.kafka.member import KafkaSource
from streamad_connectors.kafka.payloads import Beside
from streamad_connectors.kafka.record_topic import OnLost, RecordTopic, Start, partitions_of
from streamad_connectors.kafka.replay import KafkaReplay
from streamad_connectors.kafka.sampling import address, sample_topic
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings, member_settings
from streamad_connectors.kafka.tail import KafkaTail
from streamad_connectors.kafka.topic_id import TopicId

_ALWAYS = {
    "partition.assignment.strategy": "cooperative-sticky",
    "auto.offset.reset": "error",  # `start` and `on_lost` decide
    "enable.partition.eof": True,
}


def is_topic(name: str) -> str:
    """A topic's name. Raises `ValueError`."""
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
    topic: Annotated[str, AfterValidator(is_topic)]
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
    key_field: str | None = None
    """JSON only: the schema's field with the word id, filled with the message's key in UTF-8."""
    key_header: str | None = None
    """The header to fill it with, instead of the key."""
    time_field: str | None = None
    """JSON only: the schema's field with the word time, filled with the message's timestamp."""
    time_header: str | None = None
    """The header to fill it with, instead of the timestamp: text, written as the schema's ``time`` says."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.format != "ndjson" and (self.key_field or self.time_field):
            message = (
                "key_field and time_field with format ndjson only: the columns of a line are all its own"
            )
            raise ValueError(message)
        for kind in ("key", "time"):
            if getattr(self, f"{kind}_header") and not getattr(self, f"{kind}_field"):
                message = f"{kind}_field beside {kind}_header: the field that the header's value goes to"
                raise ValueError(message)
        return self


def open_member(
    options: KafkaOptions, context: SourceContext, heed: Heed = lambda _: None, *, alone: bool
) -> KafkaSource:
    """A member of the group, see `KafkaSource`. Raises `UserError` and `WorldError`."""

    def reconnect() -> Connection[Consumer]:
        return _connect(options, context, member_settings)

    topic = _topic(options, context, reconnect())
    topic.id.ask()
    heed(topic.id)
    if not alone:
        _mend_group(topic, options, context)
    return KafkaSource(topic, reconnect, context.release, alone=alone)


def open_tail(options: KafkaOptions, context: SourceContext, window: int) -> KafkaTail:
    """The last `window` records and those to come, see `KafkaTail`. Raises `UserError` and `WorldError`."""

    def reconnect() -> Connection[Consumer]:
        return _connect(options, context)

    return KafkaTail(_topic(options, context, reconnect()), reconnect, window)


def open_lookup(options: KafkaOptions, context: SourceContext, heed: Heed) -> KafkaLookup:
    """Single records, see `KafkaLookup`. Raises `UserError` and `WorldError`."""

    def reconnect() -> Connection[Consumer]:
        return connect(options, Consumer, consumer_settings(options, context.folder) | LOOKING_UP)

    return KafkaLookup(_topic(options, context, reconnect()), reconnect, heed)


def _open(options: KafkaOptions, context: SourceContext) -> Source:
    if not context.bounded:
        return open_member(options, context, alone=True)
    topic = _topic(options, context, _connect(options, context))
    topic.id.ask()
    return KafkaReplay(topic)


def _mend_group(topic: RecordTopic, options: KafkaOptions, context: SourceContext) -> None:
    settings = consumer_settings(options, context.folder) | {"isolation.level": "read_uncommitted"}
    asking = connect(options, Consumer, settings | {"group.id": topic.group})
    try:
        topic.mend_group(asking)
    finally:
        asking.client.close()


def _connect(
    options: KafkaOptions,
    context: SourceContext,
    settings: Callable[[KafkaClient, Path], dict[str, Any]] = consumer_settings,
) -> Connection[Consumer]:
    """A consumer that names the group, and joins it only with `member_settings`."""
    named = {"group.id": group_of(options, context)}
    return connect(options, Consumer, settings(options, context.folder) | _ALWAYS | named)


def group_of(options: SourceOptions, context: SourceContext) -> str:
    """The scorers' group; of another source the one that keeps its place."""
    named = options.group if isinstance(options, KafkaOptions) else None
    return named or f"streamad-{context.feed}"


def _topic(options: KafkaOptions, context: SourceContext, connection: Connection[Consumer]) -> RecordTopic:
    """The topic with its present partitions. Raises `UserError` and `WorldError` where it cannot be read."""
    partitions = partitions_of(connection, options.topic)
    return RecordTopic(
        connection=connection,
        name=options.topic,
        id=TopicId(options, context.folder, options.topic, len(partitions)),
        group=group_of(options, context),
        start=options.start,
        on_lost=options.on_lost,
        partitions=partitions,
        record_bytes=context.record_bytes,
        beside=Beside(options.key_field, options.key_header, options.time_field, options.time_header),
    )


def _sample(options: KafkaOptions, context: SourceContext) -> Sample:
    return sample_topic(options, context.folder, options.topic)


def _check(options: KafkaOptions, context: SourceContext) -> list[Finding]:
    return check_reading(Reading(options, context.folder, options.topic, group_of(options, context)))


plugin = SourcePlugin(options=KafkaOptions, open=_open, sampling=Sampling(address, _sample), check=_check)
