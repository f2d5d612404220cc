"""What tests do with the topics of a broker, each call with clients of its own that are gone when it returns."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any, NamedTuple, Protocol

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

_SECONDS = 30.0
_ATTEMPT = 10.0
_COORDINATOR_AWAY = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._TIMED_OUT,  # the client names its own errors so
}


class Reachable(Protocol):
    """A broker, or what stands for one."""

    @property
    def bootstrap(self) -> str:
        """HOST:PORT, of several brokers with commas between."""


class Record(NamedTuple):
    """What a reader of a topic gets."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def admin(broker: Reachable) -> AdminClient:
    """A client for what has no helper here; its futures die with it, so keep it until they are done."""
    return AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 5})


def make_topics(broker: Reachable, partitions: Mapping[str, int], **config: object) -> dict[str, str]:
    """Make topics under fresh names; the keys give partitions, the answer the name of each.

    In the names of settings, such as cleanup_policy="compact", an underscore stands for a dot.
    """
    prefix = f"t{uuid.uuid4().hex[:8]}"
    settings = {key.replace("_", "."): str(value) for key, value in config.items()}
    names = {name: f"{prefix}-{name}" for name in partitions}
    wanted = [NewTopic(names[name], count, -1, config=settings) for name, count in partitions.items()]
    client = admin(broker)
    for done in client.create_topics(wanted).values():
        done.result(_SECONDS)
    _until(lambda: all(led(client, names[name]) == count for name, count in partitions.items()), "topics")
    return names


def led(client: AdminClient, topic: str) -> int:
    """How many partitions have a leader, as far as the broker has heard from its controller."""
    return sum(
        known.leader >= 0 for known in client.list_topics(topic, _SECONDS).topics[topic].partitions.values()
    )


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the broker does not know its {what}")
        time.sleep(0.01)


def delete_topics(broker: Reachable, names: Iterable[str]) -> None:
    """Remove topics."""
    client = admin(broker)
    for done in client.delete_topics([*names]).values():
        done.result(_SECONDS)


def allow(broker: Reachable, user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
    """Give a user rights on one resource, or on all of a kind with the name "*"."""
    to = (kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*")
    wanted = {AclBinding(*to, operation, AclPermissionType.ALLOW) for operation in operations}
    client = admin(broker)
    for done in client.create_acls([*wanted]).values():
        done.result(_SECONDS)
    given = AclBindingFilter(*to, AclOperation.ANY, AclPermissionType.ANY)
    _until(lambda: wanted <= {*client.describe_acls(given).result(_SECONDS)}, "rights")


def produce(
    broker: Reachable,
    topic: str,
    values: Sequence[bytes | str | None],
    partition: int | None = None,
    keys: Iterable[bytes | str | None] | None = None,
    **message: Any,
) -> None:
    """Write values in their order, and return when all are stored; `headers` and `timestamp` may be given for all."""
    refused: list[KafkaError] = []
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap, "acks": "all", "message.max.bytes": 10_000_000}
    )
    message |= {"on_delivery": lambda error, _: refused.append(error) if error else None}
    for value, key in zip(values, keys or repeat(None), strict=keys is not None):
        while not _taken(producer, topic, value, key, **message | _to(partition)):
            producer.poll(0.1)
    left = producer.flush(_SECONDS)
    assert (left, refused[:3]) == (0, []), f"{topic}: not everything was stored"


def _to(partition: int | None) -> dict[str, int]:
    return {} if partition is None else {"partition": partition}


def _taken(producer: Producer, *record: Any, **message: Any) -> bool:
    """Whether the producer's queue had room."""
    try:
        producer.produce(*record, **message)
    except BufferError:
        return False
    return True


def read_all(
    broker: Reachable, topic: str, isolation: str = "read_committed", seconds: float = _SECONDS
) -> list[Record]:
    """All records that a reader may see now, sorted by partition and offset. As `each_of`."""
    found = [_record(message) for message in each_of(broker, topic, isolation, seconds)]
    return sorted(found, key=lambda record: record[:2])


def each_of(
    broker: Reachable, topic: str, isolation: str = "read_committed", seconds: float = _SECONDS
) -> Iterator[Message]:
    """The messages that a reader may see now, each partition's in their order.

    With read_committed a partition ends at the first open transaction. Too slow is a TimeoutError.
    """
    settings = {"isolation.level": isolation, "auto.offset.reset": "earliest", "enable.partition.eof": True}
    with _consumer(broker, **settings) as consumer:
        waiting = {place.partition for place in _places(consumer, topic)}
        consumer.assign([TopicPartition(topic, partition, 0) for partition in waiting])
        deadline = time.monotonic() + seconds
        while waiting:
            for message in consumer.consume(10_000, 0.1):
                if _is_end(message):
                    waiting.discard(message.partition() or 0)
                else:
                    yield message
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: partitions {waiting} not at their ends")


def _record(message: Message) -> Record:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return Record(partition, offset, message.key(), message.value(), message.headers() or [])


def _is_end(message: Message) -> bool:
    """Whether it says that its partition has come to its end."""
    error = message.error()
    if error is None:
        return False
    if error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return True


def committed(broker: Reachable, group: str, topic: str, isolation: str = "read_committed") -> dict[int, int]:
    """The offset that a group has committed for each partition, where it has; with read_committed those of pending
    transactions are waited for.

    By a consumer: an AdminClient that asks for them while the group's coordinator is not there crashes the process.
    """
    found: dict[int, int] = {}
    settings = {"group.id": group, "isolation.level": isolation}

    def told() -> bool:
        # each time another one: one that has asked a broker as it died may wait for its answer all the while
        with _consumer(broker, **settings) as consumer:
            try:
                places = consumer.committed(_places(consumer, topic), _ATTEMPT)
            except KafkaException as error:
                if error.args[0].code() not in _COORDINATOR_AWAY:
                    raise
                return False
        found.update((place.partition, place.offset) for place in places if place.offset >= 0)
        return True

    _until(told, "offsets")
    return found


def end_offsets(broker: Reachable, topic: str, isolation: str = "read_uncommitted") -> dict[int, int]:
    """Where the next record of each partition would go; with read_committed, where its first open transaction began."""
    client = admin(broker)
    with _consumer(broker) as consumer:
        asked = {place: OffsetSpec.latest() for place in _places(consumer, topic)}
    answers = client.list_offsets(asked, isolation_level=IsolationLevel[isolation.upper()])
    return {place.partition: done.result(_SECONDS).offset for place, done in answers.items()}


@contextmanager
def _consumer(broker: Reachable, **settings: object) -> Iterator[Consumer]:
    """A consumer of no group."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": "unused", "enable.auto.commit": False} | settings
    )
    try:
        yield consumer
    finally:
        consumer.close()


def _places(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """The topic's partitions."""
    known = consumer.list_topics(topic, _SECONDS).topics[topic]
    if known.error is not None:
        raise KafkaException(known.error)
    return [TopicPartition(topic, partition) for partition in sorted(known.partitions)]
