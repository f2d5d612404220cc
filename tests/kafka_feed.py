"""One topic of records with its readers, for the tests of the source ``kafka``."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import NewTopic
from kafka_topics import admin, delete_topics, led, produce
from streamad_connectors.kafka.source import KafkaOptions, open_member, plugin
from streamad_connectors.kafka.topic_id import Mark

from streamad.ports import End, Idle, SourceContext

QUICK = {"session.timeout.ms": 2000, "heartbeat.interval.ms": 200, "topic.metadata.refresh.interval.ms": 500}
STEADY = {"session.timeout.ms": 20_000, "topic.metadata.refresh.interval.ms": 300_000}
"""For a topic that is made anew: a member does not see that there was none meanwhile."""
SECONDS = 30.0
RECORD_BYTES = 1 << 20


class Feed:
    """One topic, and all that is done with it. A row's place is ``PARTITION@OFFSET``."""

    def __init__(self, broker, topic):
        self.broker, self.topic, self.group = broker, topic, f"group-{topic}"
        self.produce = partial(produce, broker, topic)
        self.opened = []

    def member(self, *, alone=False, release=lambda _: None, heed=lambda _: None, **options):
        context = SourceContext(Path(), RECORD_BYTES, 0, bounded=False, release=release)
        self.opened.append(open_member(self.options(**options), context, heed, alone=alone))
        return self.opened[-1]

    def replay(self, **options):
        self.opened.append(
            plugin.open(self.options(**options), SourceContext(Path(), RECORD_BYTES, 0, bounded=True))
        )
        return self.opened[-1]

    def options(self, client=(), **options):
        usual = {
            "type": "kafka",
            "brokers": self.broker.bootstrap,
            "topic": self.topic,
            "group": self.group,
            "client": QUICK | dict(client),
        }
        return KafkaOptions.model_validate(usual | options)

    def name(self, partition):
        return f"{self.topic}/{partition}"

    def offsets(self, offsets):
        """For the client."""
        return [TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]

    def positions(self, offsets):
        """For a source's seek."""
        return {self.name(partition): {"offset": offset} for partition, offset in offsets.items()}

    def mark(self, topic_id=None, partitions=1, *, anew=False):
        """What is said beside offsets of the topic, or of another one with this id."""
        return str(Mark(topic_id or self.topic_id(), anew, partitions))

    def commit(self, offsets, mark=""):
        """As a member would that is gone by now."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": self.group})
        places = [TopicPartition(self.topic, number, offset, mark) for number, offset in offsets.items()]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()

    def told(self):
        """What the group's offsets say beside the number: of which topic they are."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": self.group})
        (place,) = consumer.committed([TopicPartition(self.topic, 0)], SECONDS)
        consumer.close()
        return place.metadata

    def topic_id(self):
        client = admin(self.broker)
        found = client.describe_topics(TopicCollection([self.topic]))
        return str(found[self.topic].result(SECONDS).topic_id)

    def make_anew(self, partitions=1):
        """Delete the topic, and make another one of its name. Returns the old one's id."""
        before = self.topic_id()
        self.delete()
        self.make(partitions)
        return before

    def delete(self):
        delete_topics(self.broker, [self.topic])
        wait_for(lambda: self.topic not in admin(self.broker).list_topics(timeout=SECONDS).topics)

    def make(self, partitions=1):
        client = admin(self.broker)
        client.create_topics([NewTopic(self.topic, partitions, 1)])[self.topic].result(SECONDS)
        wait_for(lambda: led(client, self.topic) == partitions)

    def delete_before(self, offsets):
        """As retention does."""
        client = admin(self.broker)
        for done in client.delete_records(self.offsets(offsets)).values():
            done.result(SECONDS)

    def transaction(self, values, *, kept=True):
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "transactional.id": self.topic})
        producer.init_transactions()
        producer.begin_transaction()
        for value in values:
            producer.produce(self.topic, value, partition=0)
        producer.flush()
        (producer.commit_transaction if kept else producer.abort_transaction)()

    def places(self, blocks):
        return sorted(
            f"{block.partition(row).removeprefix(f'{self.topic}/')}@{block.offsets[row]}"
            for block in blocks
            for row in range(len(block))
        )

    def ends(self, blocks):
        """Up to where the partitions were read, by the last cursor of each."""
        cursors = {name: cursor["offset"] for block in blocks for name, cursor in block.cursors.items()}
        return {int(name.rpartition("/")[2]): offset for name, offset in sorted(cursors.items())}


def polled(source, until=lambda _: False, rows=500, seconds=None):
    """All but `Idle`, until a condition holds of it, or for some time."""
    found = []
    deadline = time.monotonic() + (seconds or SECONDS)
    while not until(found) and time.monotonic() < deadline:
        got = source.poll(rows, 0.05)
        found += [] if isinstance(got, Idle) else [got]
    assert seconds or until(found), f"nothing more came after {found[-3:]}"
    return found


def some(number):
    return lambda blocks: sum(map(len, blocks)) >= number


def places(partition, *span):
    return sorted(f"{partition}@{offset}" for offset in range(*span))


class Polling(threading.Thread):
    """Polls a source all the time. What ends that is raised at the end."""

    def __init__(self, source):
        super().__init__(daemon=True)
        self.source, self.found, self.error, self.stopping = source, [], None, False

    def run(self):
        try:
            while not self.stopping:
                got = self.source.poll(500, 0.05)
                self.found += [] if isinstance(got, Idle) else [got]
        except Exception as error:  # noqa: BLE001  # for who waits
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.join(SECONDS)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def offsets_in(cursors):
    return [(name, cursor["offset"]) for name, cursor in cursors.items()]


def blocks_of(source):
    """All blocks of a replay, as values."""
    blocks = polled(source, lambda found: found[-1:] == [End()], rows=100)[:-1]
    return [
        (block.cursors, block.offsets.tolist(), [block.payload(row) for row in range(len(block))])
        for block in blocks
    ]
