"""State ``kafka``: what scorers and trainers share are topics."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from confluent_kafka.admin import AdminClient
from pydantic import AfterValidator, Field, SecretStr

from streamad.errors import UserError
from streamad.ports import (
    ClusterContext,
    ClusterPlugin,
    Desk,
    Finding,
    Lookup,
    Publisher,
    Role,
    SharedSource,
    Sink,
    Source,
    Updates,
)
from streamad.records.schema import Section
from streamad_connectors.kafka.check_roles import Sharing, check_scorer, check_trainer
from streamad_connectors.kafka.checking import Reading
from streamad_connectors.kafka.connection import connect
from streamad_connectors.kafka.desk import KafkaDesk
from streamad_connectors.kafka.ownership import trainers_of
from streamad_connectors.kafka.publisher import KafkaPublisher
from streamad_connectors.kafka.settings import Brokers, KafkaClient, admin_settings
from streamad_connectors.kafka.sink import open_sink
from streamad_connectors.kafka.source import (
    KafkaOptions,
    group_of,
    is_topic,
    open_lookup,
    open_member,
    open_tail,
)
from streamad_connectors.kafka.stage import KafkaStage
from streamad_connectors.kafka.topics import Topics, check, create_missing
from streamad_connectors.kafka.updates import KafkaUpdates

Name = Annotated[str, AfterValidator(is_topic)]


class TopicNames(Section):
    """The topics beside the records'; by default ``FEED.alerts`` and so on."""

    alerts: Name | None = None
    rejected: Name | None = None
    candidates: Name | None = None
    labels: Name | None = None
    models: Name | None = None
    control: Name | None = None


class StateOptions(KafkaClient):
    """Options of ``state`` with ``type: kafka``.

    Without brokers they are the source's, and so are the client's settings beside those given here.
    """

    type: Literal["kafka"]
    brokers: Brokers = ""
    topics: TopicNames = TopicNames()
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    transactional_id: str | None = Field(default=None, min_length=1)
    """Of this scorer, the same after each of its restarts and no other's; by default ``streamad-FEED-HOSTNAME``."""
    create_topics: bool = False
    """Whether topics that are missing are made."""
    signing_key: SecretStr | None = None
    """With it, models and references count only where they are signed with it."""


def _open_scorer(
    state: StateOptions, source: KafkaOptions, context: ClusterContext
) -> tuple[SharedSource, Sink, Updates]:
    client, topics = _ready(state, source, context)
    member = open_member(source, context.source, alone=False)
    sink = open_sink(
        client,
        _folder(context),
        topics,
        member,
        transactional_id=_scorer_name(state, context),
        on_step=context.on_step,
    )
    return member, sink, KafkaUpdates(client, _folder(context), topics, key=_key(state))


def _open_trainer(
    state: StateOptions, source: KafkaOptions, context: ClusterContext
) -> tuple[Source, Updates, Publisher, Lookup]:
    client, topics = _ready(state, source, context)
    publisher = KafkaPublisher(
        client,
        _folder(context),
        topics,
        context.feed,
        keep_versions=context.keep_versions,
        key=_key(state),
    )
    updates = KafkaUpdates(client, _folder(context), topics, key=_key(state))
    tail = open_tail(source, context.source, context.window_records)
    return tail, updates, publisher, open_lookup(source, context.source)


def _open_desk(state: StateOptions, source: KafkaOptions, context: ClusterContext) -> Desk:
    client, topics = _named(state, source, context)
    return KafkaDesk(client, source, topics, context, key=_key(state))


def _open_stage(state: StateOptions, feed: str) -> KafkaStage:
    return KafkaStage(state, feed, _topics(state.topics, feed))


def _check(state: StateOptions, source: KafkaOptions, context: ClusterContext, role: Role) -> list[Finding]:
    client, topics = _named(state, source, context)
    folder = _folder(context)
    sharing = Sharing(client, folder, topics, create=state.create_topics, name=_scorer_name(state, context))
    if role == "scorer":
        return check_scorer(Reading(source, folder, source.topic, group_of(source, context.source)), sharing)
    trainer = trainers_of(context.feed)
    sharing = replace(sharing, name=trainer, group=trainer)
    return check_trainer(Reading(source, folder, source.topic, None), sharing)


def _scorer_name(state: StateOptions, context: ClusterContext) -> str | None:
    """The transactional id, None where nothing is written under one."""
    named = state.transactional_id or f"streamad-{context.feed}-{socket.gethostname()}"
    return named if state.delivery == "exactly_once" else None


def _ready(state: StateOptions, source: KafkaOptions, context: ClusterContext) -> tuple[KafkaClient, Topics]:
    """The client and the topics, which are as they must be. Raises `UserError` and `WorldError`."""
    client, topics = _named(state, source, context)
    admin = connect(client, AdminClient, admin_settings(client, _folder(context)))
    if state.create_topics:
        create_missing(admin, topics)
    if problems := check(admin, topics):
        raise UserError("; ".join(problems) + " (state.create_topics: true makes those that are missing)")
    return client, topics


def _named(state: StateOptions, source: KafkaOptions, context: ClusterContext) -> tuple[KafkaClient, Topics]:
    """The client and the topics, whatever these are like. Raises `UserError` where the records are in no topic."""
    if not isinstance(source, KafkaOptions):
        raise UserError(
            "state.type is kafka, but source.type is not: a cluster's scorers share a topic of records"
        )
    return _client(state, source), _topics(state.topics, context.feed)


def _client(state: StateOptions, source: KafkaClient) -> KafkaClient:
    if state.brokers:
        return state
    return source.model_copy(update={"client": {**source.client, **state.client}})


def _topics(names: TopicNames, feed: str) -> Topics:
    return Topics(**{field: getattr(names, field) or f"{feed}.{field}" for field in Topics._fields})


def _folder(context: ClusterContext) -> Path:
    return context.source.folder


def _key(state: StateOptions) -> bytes | None:
    return state.signing_key.get_secret_value().encode() if state.signing_key else None


plugin = ClusterPlugin(
    options=StateOptions,
    open_scorer=_open_scorer,
    open_trainer=_open_trainer,
    open_desk=_open_desk,
    open_stage=_open_stage,
    check=_check,
)
