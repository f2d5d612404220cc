"""What Kafka lacks for a scorer or a trainer of a cluster to work, found out before the start and without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from streamad.errors import UserError
from streamad.ports import Finding
from streamad_connectors.kafka.checking import (
    Reading,
    check_group,
    check_reading,
    check_rights_on,
    ok,
    problem,
    reached,
)
from streamad_connectors.kafka.chunks import CHUNK_BYTES
from streamad_connectors.kafka.connection import (
    PATIENCE,
    Connection,
    Right,
    connect,
    kafka_errors,
    missing_rights,
    streamad_error,
)
from streamad_connectors.kafka.settings import KafkaClient, producer_settings
from streamad_connectors.kafka.sink import sizes
from streamad_connectors.kafka.topics import (
    SMALLEST_MESSAGE,
    Topics,
    check,
    missing,
    topic_settings,
    why_not_made,
)
from streamad_connectors.kafka.updates import ARTIFACT_BYTES

_NO_TIME = 2**31 - 1
_PLACE_BYTES = 20
"""What a model's description says of each of its parts, at most."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """The topics that scorers and trainers share, and what one of them does with them."""

    client: KafkaClient
    folder: Path
    topics: Topics
    create: bool
    """Whether topics that are missing will be made."""
    name: str | None
    """The transactional id, if there is one."""
    group: str | None = None
    """The one that has an offset for the topic control: the trainers', or that of a scorer who is alone."""


def check_scorer(reading: Reading | None, sharing: Sharing) -> list[Finding]:
    """What `streamad run` needs in a cluster; `reading` is None for records in no topic. As `check_reading`."""
    topics, admin = sharing.topics, reached(sharing.client, sharing.folder)
    found = _check_reading(admin, reading, sharing)
    gone, problems = _check_topics(admin, sharing)
    written = (topics.alerts, topics.rejected, topics.candidates)
    read = (topics.labels, topics.control, topics.models)
    rights = [Right("Write", "topic", name) for name in written] + [
        Right("Read", "topic", name) for name in read
    ]
    found += [*problems, *check_rights_on(admin, rights, gone), *_check_group(admin, sharing, gone)]
    if not gone & {*written}:
        found += _check_alerts(sharing)
    if sharing.name is not None:
        found += _check_name(sharing)
    return [*found, *_check_temptation(admin, topics, gone)]


def check_trainer(reading: Reading | None, sharing: Sharing) -> list[Finding]:
    """What `streamad trainer` needs. As `check_scorer`."""
    topics, admin = sharing.topics, reached(sharing.client, sharing.folder)
    found = _check_reading(admin, reading, sharing)
    gone, problems = _check_topics(admin, sharing)
    shared = (topics.labels, topics.control, topics.models)
    rights = [Right(operation, "topic", name) for name in shared for operation in ("Read", "Write")]
    found += [*problems, *check_rights_on(admin, rights, gone), *_check_group(admin, sharing, gone)]
    if not gone & {topics.models, topics.control}:
        found += _check_models(admin, sharing)
    return [*found, *_check_name(sharing)]


# ---- the topics that are shared --------------------------------------------------------------------


def _check_reading(
    admin: Connection[AdminClient], reading: Reading | None, sharing: Sharing
) -> list[Finding]:
    if reading is None:
        return [ok(f"brokers {sharing.client.brokers}: reached by {admin.user}")]
    found = check_reading(reading)
    return found if reading.group is None else [*found, *_check_place(admin, reading, sharing)]


def _check_group(admin: Connection[AdminClient], sharing: Sharing, gone: set[str]) -> Iterator[Finding]:
    """Whether an offset of control may be committed."""
    control = sharing.topics.control
    if sharing.group is not None and control not in gone:
        yield from check_group(admin, Reading(sharing.client, sharing.folder, control, sharing.group))


def _check_place(admin: Connection[AdminClient], reading: Reading, sharing: Sharing) -> Iterator[Finding]:
    """A transaction moves alerts and offsets within one cluster of brokers."""
    if sharing.client.brokers == reading.client.brokers or sharing.name is None:
        return
    other = reached(reading.client, reading.folder)
    with kafka_errors("asking brokers which cluster they are", admin.events):
        ids = {client.list_topics(timeout=PATIENCE).cluster_id for client in (admin.client, other.client)}
    if len(ids) > 1:
        yield problem(
            "source.brokers and state.brokers are two clusters, and no transaction reaches over both: leave "
            "state.brokers out, or set state.delivery: at_least_once"
        )


def _check_topics(admin: Connection[AdminClient], sharing: Sharing) -> tuple[set[str], list[Finding]]:
    """The topics that are not there, and what is wrong with any of them."""
    gone = missing(admin, sharing.topics)
    made = gone if sharing.create else []
    found = [problem(text) for text in check(admin, sharing.topics, made)]
    for name, reason in why_not_made(admin, sharing.topics, made).items():
        if reason:
            found.append(problem(f"topic {name} is missing and cannot be made: {reason}"))
        else:
            found.append(ok(f"topic {name}: is missing, and will be made"))
    there = [name for name in sharing.topics if name not in gone]
    return set(gone), found or [ok(f"topics {', '.join(there)}: there, and as they must be")]


def _check_temptation(admin: Connection[AdminClient], topics: Topics, gone: set[str]) -> Iterator[Finding]:
    """Who decides on models decides what is seen."""
    rights = [Right("Write", "topic", name) for name in (topics.models, topics.control) if name not in gone]
    lacks = missing_rights(admin, rights)
    if may := [right.name for right in rights if right not in lacks]:
        yield Finding(
            "warning",
            f"{admin.user} may write topic{'s'[: len(may) > 1]} {' and '.join(may)}, as no scorer needs to: who takes a "
            "scorer over could decide what all of them see; give Write there to the trainer's user alone",
        )


# ---- sizes and the transactional id ----------------------------------------------------------------


def _check_alerts(sharing: Sharing) -> Iterator[Finding]:
    with _asproblem() as found:
        limits = sizes(sharing.client, sharing.folder, sharing.topics)
        found.append(
            ok(f"messages: alerts of up to {limits.smallest:,} bytes; the record of a larger one is cut")
        )
    yield from found


def _check_models(admin: Connection[AdminClient], sharing: Sharing) -> Iterator[Finding]:
    """A model goes into parts, of which one message has the list."""
    topics = (sharing.topics.models, sharing.topics.control)
    ours = int(producer_settings(sharing.client, sharing.folder).get("message.max.bytes", 1_000_000))
    if ours < SMALLEST_MESSAGE:
        yield problem(
            f"the client setting message.max.bytes is {ours}, too few for parts of a model: set {SMALLEST_MESSAGE} or "
            "more, or leave it out"
        )
        return
    found = topic_settings(admin, topics)
    part, listed = (min(ours, int(found[name].get("max.message.bytes", ours))) for name in topics)
    most = min(ARTIFACT_BYTES, listed // _PLACE_BYTES * min(part, CHUNK_BYTES))
    yield ok(f"messages: models of up to {most >> 20:,} MiB")


def _check_name(sharing: Sharing) -> Iterator[Finding]:
    """Whether a transactional id may be used.

    It is asked for with a time-out that no broker allows, which is looked at after the rights and before anybody who
    uses the id is put out.
    """
    assert sharing.name is not None
    ours = {"transactional.id": sharing.name, "transaction.timeout.ms": _NO_TIME}
    connection = connect(sharing.client, Producer, producer_settings(sharing.client, sharing.folder) | ours)
    try:
        connection.client.init_transactions(PATIENCE)
    except KafkaException as failed:
        error = failed.args[0]
        if error.name() == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED":
            yield problem(
                f"the right Write on transactional id {sharing.name} is missing: give it to {connection.user}"
            )
            return
        if error.name() != "INVALID_TRANSACTION_TIMEOUT":
            raise streamad_error(
                error, f"asking for transactional id {sharing.name}", connection.events
            ) from None
    yield ok(f"transactional id {sharing.name}: Write")


@contextmanager
def _asproblem() -> Iterator[list[Finding]]:
    """Findings to be added to; an error of the user's within becomes the last."""
    found: list[Finding] = []
    try:
        yield found
    except UserError as error:
        found.append(problem(str(error)))
