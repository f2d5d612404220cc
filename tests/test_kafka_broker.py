"""The brokers that the tests of Kafka run on, and what the helpers say of their topics."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kafka_topics import committed, end_offsets, produce, read_all

pytestmark = pytest.mark.kafka


def test_what_was_produced_is_read_back_with_its_place_and_headers(broker, topics):
    topic = topics({"records": 2})["records"]
    produce(broker, topic, [b"a", None], partition=1, keys=["k", b"l"], headers={"h": b"1"})
    produce(broker, topic, ["c"], partition=0)
    assert read_all(broker, topic) == [
        (0, 0, None, b"c", []),
        (1, 0, b"k", b"a", [("h", b"1")]),
        (1, 1, b"l", None, [("h", b"1")]),
    ]


def test_topics_have_fresh_names_and_the_settings_asked_for(broker, topics):
    first, second = topics({"records": 1}), topics({"records": 3, "models": 1}, cleanup_policy="compact")
    assert first["records"] != second["records"]
    assert end_offsets(broker, second["records"]) == {0: 0, 1: 0, 2: 0}
    with pytest.raises(AssertionError, match="not everything was stored"):
        produce(broker, second["models"], [b"a compacted topic takes no value without a key"])


def test_an_aborted_transaction_is_read_only_uncommitted_and_an_open_one_ends_the_committed(broker, topics):
    topic = topics({"alerts": 1})["alerts"]
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": topic})
    producer.init_transactions()
    for value, end in (
        ("kept", producer.commit_transaction),
        ("gone", producer.abort_transaction),
        ("open", None),
    ):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush()
        if end is not None:
            end()
    assert [record[:4] for record in read_all(broker, topic)] == [(0, 0, None, b"kept")]
    assert [record.value for record in read_all(broker, topic, "read_uncommitted")] == [
        b"kept",
        b"gone",
        b"open",
    ]
    assert end_offsets(broker, topic, "read_committed") == {
        0: 4
    }  # each record and each end of one has its place
    assert end_offsets(broker, topic) == {0: 5}
    producer.abort_transaction()
    assert read_all(broker, topic) == [(0, 0, None, b"kept", [])]


def test_committed_offsets_are_those_of_the_group_and_only_where_it_has_some(broker, topics):
    topic = topics({"records": 2})["records"]
    produce(broker, topic, [b"a", b"b"], partition=1)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": topic})
    consumer.commit(offsets=[TopicPartition(topic, 1, 2)], asynchronous=False)
    consumer.close()
    assert committed(broker, topic, topic) == {1: 2}
    assert committed(broker, "another", topic) == {}
