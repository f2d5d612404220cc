"""Clients of Kafka whose troubles are streamad's errors: one sentence each, after a bounded time."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from streamad.errors import OutOfTouchError, StreamadError, UserError, WorldError
from streamad_connectors.kafka.events import ClientEvents, in_words
from streamad_connectors.kafka.settings import KafkaClient

PATIENCE = 15.0
"""Seconds to wait for a broker at the start."""

CLOSE_SECONDS = 5.0
"""Seconds to wait for one at the end."""

_SETTLING = 2.0
"""Seconds until a topic that nobody knows counts as missing: a new one is not known to all brokers at once."""

_TURN = 0.5
"""Seconds of one attempt: reasons for a failure are told between attempts."""

MISSING = {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"}
"""That there is no such topic or partition. A client that is cut off says so of any."""

_LACKING = {
    "TOPIC_AUTHORIZATION_FAILED": "topic",
    "GROUP_AUTHORIZATION_FAILED": "group",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "transactional id",
    "CLUSTER_AUTHORIZATION_FAILED": "cluster",
}
"""What a right is missing on."""

_INPUT = {
    "_INVALID_ARG",
    "_UNSUPPORTED_FEATURE",
    "UNSUPPORTED_VERSION",
    "INCONSISTENT_GROUP_PROTOCOL",
    "INVALID_GROUP_ID",
    "INVALID_SESSION_TIMEOUT",
    "INVALID_TRANSACTION_TIMEOUT",
    "INVALID_REPLICATION_FACTOR",
    "INVALID_CONFIG",
    "POLICY_VIOLATION",
    "TOPIC_EXCEPTION",
}
"""What comes of the config, so that trying again will not help."""

_UNREACHED = {"_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN", "_RESOLVE"}

_UNSETTLED = {
    "_MSG_TIMED_OUT",
    "_WAIT_COORD",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION",
    "REQUEST_TIMED_OUT",
    "NETWORK_EXCEPTION",
}
"""What brokers say, or leave unsaid, that are only just coming back."""

C = TypeVar("C", Consumer, Producer, AdminClient)


@dataclass(frozen=True, slots=True)
class Connection(Generic[C]):
    """A client, and what librdkafka says of it."""

    client: C
    events: ClientEvents

    @property
    def user(self) -> str:
        """Who it connects as, for people."""
        return self.events.user


class Right(NamedTuple):
    """What an ACL gives: ``Right("Read", "group", "scorers")``."""

    operation: Literal["Read", "Write", "Describe", "Create", "Alter", "Delete"]
    resource: Literal["topic", "group"]
    name: str


def connect(options: KafkaClient, make: Callable[..., C], settings: Mapping[str, Any]) -> Connection[C]:
    """A client made of librdkafka's settings, such as `settings.consumer_settings`. It waits for no broker.

    Raises `UserError` where librdkafka refuses a setting.
    """
    events = ClientEvents(options, settings)
    try:
        client = make({**settings, "error_cb": events.on_error}, logger=events)
    except KafkaException as error:
        raise UserError(f"client settings: {_refused(error.args[0], events)}") from None
    return Connection(client, events)


def _refused(error: KafkaError, events: ClientEvents) -> str:
    """What librdkafka has against its settings, without a value, which may be a secret."""
    named = re.search(r'property "([\w.]+)"|value for "([\w.]+)"', error.str())
    if named:
        return f"librdkafka does not take this value of {named[1] or named[2]}"
    return in_words(re.sub(r"^Failed to create [\w ]+: ", "", error.str()), events.secrets)


def check_reachable(connection: Connection[C], topics: Sequence[str] = (), seconds: float = PATIENCE) -> None:
    """Wait until a broker answers and knows these topics. A consumer must not have subscribed: it would lose records.

    Raises `WorldError` when no broker answered in time, and at once `UserError` for refused credentials, a topic that
    does not exist, or one that this user may not see.
    """
    until = time.monotonic() + seconds
    wanted: Sequence[str | None] = topics or (None,)
    for topic in wanted:
        _wait(connection, topic, until, seconds)


def _wait(connection: Connection[C], topic: str | None, until: float, seconds: float) -> None:
    settled = min(until, time.monotonic() + _SETTLING)
    while (error := _ask(connection, topic)) is not None:
        if error.name() in _LACKING:
            raise lacking(Right("Describe", "topic", str(topic)), connection.user)
        if error.name() in MISSING and time.monotonic() > settled:
            raise UserError(f"topic {topic} does not exist at {connection.events.brokers}")
        if connection.events.refusal is not None:
            raise connection.events.refusal
        if time.monotonic() > until:
            raise unreached(connection.events, seconds)
    connection.events.answered()


def _ask(connection: Connection[C], topic: str | None) -> KafkaError | None:
    """One attempt to hear of a topic, or of all: why it failed, if it did."""
    client, error = connection.client, None
    try:
        known = client.list_topics(topic, _TURN) if topic else client.list_topics(timeout=_TURN)
        error = known.topics[topic].error if topic else None
    except KafkaException as failed:
        error = failed.args[0]
    met = client.poll(0.1 if error else 0)  # here librdkafka tells its reasons
    if isinstance(met, Message) and (told := met.error()) is not None:
        if told.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            connection.events.group_refusal = told
        connection.events.on_error(told)
    return error


def check_rights(
    connection: Connection[AdminClient], rights: Sequence[Right], seconds: float = PATIENCE
) -> None:
    """Raises `UserError` for the first of these rights that is missing."""
    for right in missing_rights(connection, rights, seconds):
        raise lacking(right, connection.user)


def missing_rights(
    connection: Connection[AdminClient], rights: Sequence[Right], seconds: float = PATIENCE
) -> list[Right]:
    """Those of these rights that this user lacks, where the brokers tell; the topics must exist.

    Raises `WorldError` where they do not answer in time.
    """
    names = {
        kind: sorted({right.name for right in rights if right.resource == kind})
        for kind in ("topic", "group")
    }
    how = {"include_authorized_operations": True, "request_timeout": seconds}
    answers: dict[tuple[str, str], Future[Any]] = {}
    if names["topic"]:
        found = connection.client.describe_topics(TopicCollection(names["topic"]), **how)
        answers |= {("topic", name): answer for name, answer in found.items()}
    if names["group"]:
        found = connection.client.describe_consumer_groups(names["group"], **how)
        answers |= {("group", name): answer for name, answer in found.items()}
    given = {what: _operations(answer, connection.events) for what, answer in answers.items()}
    return [right for right in rights if not _has(given[right.resource, right.name], right.operation)]


def _operations(answer: Future[Any], events: ClientEvents) -> set[str] | None:
    """What a user may do with a resource, or None where the brokers do not say."""
    try:
        operations = answer.result().authorized_operations
    except KafkaException as failed:
        if failed.args[0].name() in _LACKING:
            return set()
        raise streamad_error(failed.args[0], "asking for rights", events) from None
    return None if operations is None else {operation.name for operation in operations}


def _has(operations: set[str] | None, operation: str) -> bool:
    return operations is None or operation.upper() in operations


def leave(consumer: Consumer) -> None:
    """Close it and leave its group, for which the client would wait longer than we do."""
    closing = threading.Thread(target=consumer.close, name="kafka-close", daemon=True)
    closing.start()
    closing.join(CLOSE_SECONDS)


def lacking(right: Right, user: str) -> UserError:
    """A right that is missing, as an error."""
    more = ", which Read and Write bring along," if right.operation == "Describe" else ""
    return UserError(
        f"the right {right.operation} on {right.resource} {right.name}{more} is missing: give it to {user}"
    )


def unreached(events: ClientEvents, seconds: float) -> OutOfTouchError:
    """No broker answered, as an error."""
    reason = f" ({events.problem})" if events.problem else ""
    hint = ": is security.protocol what that listener speaks?" if "isconnected" in reason else ""
    return OutOfTouchError(f"no Kafka broker at {events.brokers} answered within {seconds:g} s{reason}{hint}")


@contextmanager
def kafka_errors(doing: str, events: ClientEvents | None = None) -> Iterator[None]:
    """Turn a `KafkaException` into a `UserError` or a `WorldError`; `doing` begins the sentence."""
    try:
        yield
    except KafkaException as error:
        raise streamad_error(error.args[0], doing, events) from None


def streamad_error(error: KafkaError, doing: str, events: ClientEvents | None = None) -> StreamadError:
    """The error of streamad's that one of Kafka's means; `doing`, such as "reading topic records", begins its sentence."""
    name = error.name()
    if events is not None and events.refusal is not None and name in _UNREACHED:
        return events.refusal
    if name in _LACKING:
        missing = events.lacking(_LACKING[name]) if events else f"a right on the {_LACKING[name]} is missing"
        return UserError(f"{doing}: {missing}")
    cut_off = events is not None and events.away  # knows no topic any more
    if name in MISSING and not cut_off:
        return UserError(f"{doing}: there is no such topic")
    said = in_words(error.str(), events.secrets if events else ())
    if events is not None and events.problem and name in _UNREACHED:
        said = f"{said} ({events.problem})"
    if name in _UNREACHED | _UNSETTLED | MISSING:
        return OutOfTouchError(f"{doing}: {said}")
    return (UserError if name in _INPUT else WorldError)(f"{doing}: {said}")
