"""The ends of topics, and what is asked of the trainer: what a desk stands on, on a real broker."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions
from kafka_topics import admin, produce, read_all
from kafka_updates_help import active, feed_of, files, new_topics, options, promoted, reading, wait_for_news
from streamad_connectors.kafka.control import version_key, write_request
from streamad_connectors.kafka.desk import KafkaDesk
from streamad_connectors.kafka.newest import Newest
from streamad_connectors.kafka.source import KafkaOptions

from streamad.errors import UserError
from streamad.ports import ClusterContext, SourceContext, Wanted

pytestmark = pytest.mark.kafka

SECONDS = 60


@pytest.fixture
def reader(broker, topics):
    """Reads a topic of three partitions that hold 0 to 8 in turns, in which much was aborted since."""
    topic = topics({"alerts": 3})["alerts"]
    for n in range(9):
        produce(broker, topic, [f"{n}"], partition=n % 3, timestamp=1_000_000 + n)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": topic})
    producer.init_transactions()
    for _ in range(4):
        producer.begin_transaction()
        for _ in range(10):
            producer.produce(topic, b"aborted", partition=1)
        producer.flush()
        producer.abort_transaction()
    opened = Newest(options(broker), Path(), topic)
    opened.produce = lambda values, partition: produce(broker, topic, values, partition=partition)
    opened.grow = lambda count: grow(broker, topic, count)
    yield opened
    opened.close()


def grow(broker, topic, count):
    client = admin(broker)
    client.create_partitions([NewPartitions(topic, count)])[topic].result(30)


def values(messages):
    return [int(message.value()) for message in messages]


def followed(reader):
    """What comes next."""
    deadline = time.monotonic() + SECONDS
    while not (found := values(reader.more(0.2))):
        assert time.monotonic() < deadline
    return found


@pytest.mark.parametrize("count", [1, 5, 9, 100])
def test_the_newest_of_all_partitions_come_by_time_without_what_was_aborted(reader, count):
    assert values(reader.last(count)) == [*range(9)][-count:]


def test_all_there_is_comes_each_partition_in_order(reader):
    found = values(reader.all())
    assert sorted(found) == [*range(9)]
    assert [[n for n in found if n % 3 == part] for part in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_following_goes_on_behind_the_newest_also_in_partitions_that_are_new(reader, monkeypatch):
    assert values(reader.last(2)) == [7, 8]
    assert values(reader.more(0.2)) == []
    reader.produce(["9"], 1)
    assert followed(reader) == [9]
    monkeypatch.setattr("streamad_connectors.kafka.newest._NEW_SECONDS", 0.2)
    reader.grow(4)
    time.sleep(0.3)  # for a moment the new partition has no leader
    reader.produce(["10"], 3)
    assert followed(reader) == [10]


def test_an_empty_topic_has_no_newest(broker, topics):
    reader = Newest(options(broker), Path(), topics({"alerts": 2})["alerts"])
    assert reader.last(5) == []
    assert [*reader.all()] == []
    reader.close()


def asked(broker, topic, version, order=0, key=None):
    """Somebody asks for a version; the order of it."""
    request = write_request(version, "2026-01-01T00:00:00Z", key, order)
    produce(broker, topic, [request], keys=["wanted"])
    return order


def test_a_request_is_told_until_it_is_answered_and_an_answer_is_for_all_before_it(broker):
    with new_topics(broker) as names, active(broker, names) as trainer:
        for version in (1, 2):
            trainer.publish(version, files(version))
        first = asked(broker, names.control, 1, order=100)
        with reading(broker, names) as updates:
            assert updates.poll() == [promoted(2), Wanted(first, 1, "2026-01-01T00:00:00Z")]
            assert updates.poll() == []
            second = asked(broker, names.control, 9, order=200)
            asked(broker, names.control, 1, order=100)  # said again by somebody
            assert wait_for_news(updates, seconds=SECONDS) == [Wanted(second, 9, "2026-01-01T00:00:00Z")]
            with pytest.raises(UserError, match=r"^version 9 is not kept: these are: 1, 2$"):
                trainer.promote(9, answers=second)
            trainer.promote(1)
            assert wait_for_news(updates, seconds=SECONDS) == [promoted(1)]
        with reading(broker, names) as updates:
            assert updates.poll() == [promoted(1)]


def test_with_a_signing_key_only_a_signed_request_counts(broker):
    with new_topics(broker) as names, reading(broker, names, key=b"ours") as updates:
        asked(broker, names.control, 1)
        asked(broker, names.control, 1, key=b"theirs")
        assert updates.poll() == []
        number = asked(broker, names.control, 1, key=b"ours")
        assert wait_for_news(updates, seconds=SECONDS) == [Wanted(number, 1, "2026-01-01T00:00:00Z")]


def test_what_is_no_description_of_a_version_or_comes_late_does_not_change_when_it_was_published(broker):
    key = b"ours"
    with new_topics(broker) as names, active(broker, names, key=key) as trainer:
        produce(broker, names.control, [b"{}"], keys=[version_key(1)], timestamp=1000)
        trainer.publish(1, files(1))
        source = KafkaOptions(type="kafka", brokers=broker.bootstrap, topic="records")
        context = ClusterContext(
            feed_of(names), SourceContext(Path(), 1 << 20, 0, bounded=False), lambda: None, 1000, 10
        )
        desk = KafkaDesk(options(broker), source, names, context, key=key)
        (before,) = desk.versions()
        assert before.published_at > "2000"
        (said,) = (
            record.value
            for record in read_all(broker, names.control)
            if record.key == version_key(1) and record.value != b"{}"
        )
        late = round(time.time() * 1000) + 3_600_000
        for value in (b"{}", said):
            produce(broker, names.control, [value], keys=[version_key(1)], timestamp=late)
        assert desk.versions() == [before]
