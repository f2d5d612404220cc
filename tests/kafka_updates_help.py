"""What the tests of a cluster's updates share: topics, a publisher that is active, updates, and what comes of them."""

from __future__ import annotations

import hashlib
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from kafka_topics import delete_topics
from streamad_connectors.kafka.connection import connect
from streamad_connectors.kafka.publisher import KafkaPublisher
from streamad_connectors.kafka.settings import KafkaClient, admin_settings
from streamad_connectors.kafka.topics import Topics, create_missing
from streamad_connectors.kafka.updates import KafkaUpdates

from streamad.ports import Promoted

HERE = Path(__file__).parent


def options(broker, **client):
    return KafkaClient(brokers=broker.bootstrap, client=client)


def admin_connection(broker):
    given = options(broker)
    return connect(given, AdminClient, admin_settings(given, HERE))


def topics_named(prefix):
    """The topics of a feed."""
    return Topics(*(f"{prefix}.{field}" for field in Topics._fields))


@contextmanager
def new_topics(broker):
    """The topics of a feed, under fresh names."""
    topics = topics_named(f"t{uuid.uuid4().hex[:8]}")
    assert create_missing(admin_connection(broker), topics) == [*topics]
    yield topics
    delete_topics(broker, topics)


def change(broker, topic, name, value):
    """Set a topic's setting."""
    entry = ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    client = admin_connection(broker).client
    for done in client.incremental_alter_configs([resource]).values():
        done.result(10)


def feed_of(topics):
    return topics.control.partition(".")[0]


def publisher(broker, topics, keep_versions=3, **more):
    return KafkaPublisher(options(broker), HERE, topics, feed_of(topics), keep_versions=keep_versions, **more)


@contextmanager
def active(broker, topics, **more):
    """A publisher that is the active one."""
    made = publisher(broker, topics, **more)
    try:
        assert made.wait_until_active(20)
        yield made
    finally:
        made.close()


@contextmanager
def reading(broker, topics, **more):
    """Updates, closed afterwards."""
    made = KafkaUpdates(options(broker), HERE, topics, **more)
    try:
        yield made
    finally:
        made.close()


def wait_for_news(updates, count=1, seconds=10):
    """The next so many updates."""
    found = []
    deadline = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {found} came"
        found += updates.poll()
        time.sleep(0.002)
    return found


def first_news(broker, topics, **more):
    """What a fresh reader is told at once."""
    with reading(broker, topics, **more) as updates:
        return [*updates.poll()]


def files(number, size=1000):
    """An artifact that no other is like."""
    tensors = hashlib.shake_256(b"%d" % number).digest(size)
    manifest = b'{"number": %d}' % number
    return {
        "tensors.safetensors": tensors,
        "manifest.json": manifest,
        "manifest.sha256": hashlib.sha256(manifest).hexdigest().encode(),
    }


def promoted(version, size=1000):
    """As `files(version)` comes out."""
    return Promoted(version, files(version, size))
