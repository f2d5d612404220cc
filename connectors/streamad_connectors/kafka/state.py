"""State ``kafka``: what scorers and trainers share are topics."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from streamad.errors import UserError
from streamad.ports import (
    ClusterContext,
    ClusterPlugin,
    Desk,
    Finding,
    Lookup,
    Publisher,
    Role,
    Sink,
    Source,
    SourceOptions,
    Updates,
)
from streamad.records.schema import Section
from streamad_connectors.kafka.check_roles import Sharing, check_scorer, check_trainer
from streamad_connectors.kafka.checking import Reading, reached
from streamad_connectors.kafka.desk import KafkaDesk
from streamad_connectors.kafka.first_topic import first_topic
from streamad_connectors.kafka.kept import open_kept
from streamad_connectors.kafka.lookup import NoLookup
from streamad_connectors.kafka.ownership import trainers_of
from streamad_connectors.kafka.publisher import KafkaPublisher
from streamad_connectors.kafka.settings import Brokers, KafkaClient, of_kind
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
    """Of this scorer, the same after each of its restarts and no other's; by default
    ``streamad-FEED-scorer-HOSTNAME``."""
    create_topics: bool = False
    """Whether topics that are missing are made."""
    signing_key: SecretStr | None = None
    """With it, models and references count only where they are signed with it. Never written out in a config."""

    @model_validator(mode="before")
    @classmethod
    def _kept_elsewhere(cls, options: object) -> object:
        if not isinstance(options, Mapping) or options.get("signing_key") is None:
            return options
        return {**options, "signing_key": of_kind("signing_key", "secret", options["signing_key"])}


def _open_scorer(
    state: StateOptions, source: SourceOptions, context: ClusterContext
) -> tuple[Source, Sink, Updates]:
    client, topics = _ready(state, source, context)
    folder, name = _folder(context), _scorer_name(state, source, context)
    updates = KafkaUpdates(client, folder, topics, key=_key(state))
    if isinstance(source, KafkaOptions):
        heed = first_topic(client, folder, topics.control, _key(state))
        member = open_member(source, context.source, heed, alone=False)
        sink = open_sink(client, folder, topics, member, transactional_id=name, on_step=context.on_step)
        return member, sink, updates
    assert name is not None
    group = group_of(source, context.source)
    found = context.open_source()
    return *open_kept(
        client, folder, topics, found, group=group, transactional_id=name, on_step=context.on_step
    ), updates


def _open_trainer(
    state: StateOptions, source: SourceOptions, context: ClusterContext
) -> tuple[Source, Updates, Publisher, Lookup]:
    client, topics = _ready(state, source, context)
    folder, key = _folder(context), _key(state)
    records: Source
    lookup: Lookup
    if isinstance(source, KafkaOptions):
        records = tail = open_tail(source, context.source, context.window_records)
        lookup = open_lookup(source, context.source, first_topic(client, folder, topics.control, key))
        topic_id = tail.topic_id
    else:
        records, lookup, topic_id = context.open_source(), NoLookup(), None
    publisher = KafkaPublisher(
        client,
        folder,
        topics,
        context.feed,
        keep_versions=context.keep_versions,
        pinned=context.pinned_versions,
        key=key,
        records=topic_id,
    )
    return records, KafkaUpdates(client, folder, topics, key=key), publisher, lookup


def _open_desk(state: StateOptions, source: SourceOptions, context: ClusterContext) -> Desk:
    client, topics = _named(state, source, context)
    return KafkaDesk(client, source, topics, context, key=_key(state))


def _open_stage(state: StateOptions, feed: str) -> KafkaStage:
    return KafkaStage(state, feed, _topics(state.topics, feed))


def _check(state: StateOptions, source: SourceOptions, context: ClusterContext, role: Role) -> list[Finding]:
    client, topics = _named(state, source, context)
    folder, name = _folder(context), _scorer_name(state, source, context)
    sharing = Sharing(client, folder, topics, create=state.create_topics, name=name)
    reading = None
    if isinstance(source, KafkaOptions):
        group = group_of(source, context.source) if role == "scorer" else None
        reading = Reading(source, folder, source.topic, group)
    if role == "scorer":
        alone = None if reading else group_of(source, context.source)
        return check_scorer(reading, replace(sharing, group=alone))
    trainer = trainers_of(context.feed)
    return check_trainer(reading, replace(sharing, name=trainer, group=trainer))


def _scorer_name(state: StateOptions, source: SourceOptions, context: ClusterContext) -> str | None:
    """The transactional id, None where nothing is written under one. Raises `UserError`."""
    if isinstance(source, KafkaOptions):
        named = state.transactional_id or f"streamad-{context.feed}-scorer-{socket.gethostname()}"
        if named == trainers_of(context.feed):
            raise UserError(
                f"state.transactional_id: {named} is the trainer's, which a scorer under it would silence: give each "
                "scorer its own"
            )
        return named if state.delivery == "exactly_once" else None
    name = f"streamad-{context.feed}-scorer"
    if state.delivery != "exactly_once" or state.transactional_id not in {None, name}:
        raise UserError(
            f"with source.type {source.type} a feed has one scorer, which transactions under the id {name} make sure of: "
            "leave state.delivery and state.transactional_id out"
        )
    return name


def _ready(state: StateOptions, source: SourceOptions, context: ClusterContext) -> tuple[KafkaClient, Topics]:
    """The client and the topics, which are as they must be. Raises `UserError` and `WorldError`."""
    client, topics = _named(state, source, context)
    admin = reached(client, _folder(context))
    if state.create_topics:
        create_missing(admin, topics)
    if problems := check(admin, topics):
        raise UserError("; ".join(problems) + " (state.create_topics: true makes those that are missing)")
    return client, topics


def _named(state: StateOptions, source: SourceOptions, context: ClusterContext) -> tuple[KafkaClient, Topics]:
    """The client and the topics, whatever these are like. Raises `UserError` where the config does not say them."""
    client, topics = _client(state, source), _topics(state.topics, context.feed)
    _check_apart(client, source, topics)
    return client, topics


def _check_apart(client: KafkaClient, source: SourceOptions, topics: Topics) -> None:
    """Raises `UserError` where one topic has two roles: whoever read alerts as records would never come to an end."""
    roles = dict(zip(Topics._fields, topics, strict=True))
    if isinstance(source, KafkaOptions) and {*source.brokers.split(",")} & {*client.brokers.split(",")}:
        roles |= {"records": source.topic}
    for name in roles.values():
        if len(same := [role for role in roles if roles[role] == name]) > 1:
            raise UserError(
                f"topic {name} is named for {', '.join(same)}: each needs one of its own (source.topic, state.topics)"
            )


def _client(state: StateOptions, source: SourceOptions) -> KafkaClient:
    if state.brokers:
        return state
    if not isinstance(source, KafkaOptions):
        raise UserError(f"state.brokers is missing: with source.type {source.type} nothing else names them")
    return source.model_copy(update={"client": {**source.client, **state.client}})


def _topics(names: TopicNames, feed: str) -> Topics:
    return Topics(**{field: getattr(names, field) or f"{feed}.{field}" for field in Topics._fields})


def _folder(context: ClusterContext) -> Path:
    return context.source.folder


def _key(state: StateOptions) -> bytes | None:
    return state.signing_key.get_secret_value().encode() if state.signing_key is not None else None


plugin = ClusterPlugin(
    options=StateOptions,
    open_scorer=_open_scorer,
    open_trainer=_open_trainer,
    open_desk=_open_desk,
    open_stage=_open_stage,
    check=_check,
)
