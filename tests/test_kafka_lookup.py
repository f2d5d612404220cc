"""Single records found again by their positions, on a real broker."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import NewPartitions
from kafka_broker import Broker
from kafka_topics import admin, make_topics, produce
from streamad_connectors.kafka import lookup
from streamad_connectors.kafka.source import KafkaOptions, open_lookup
from streamad_connectors.kafka.topic_id import Mark

from streamad.errors import InputError
from streamad.ports import SourceContext

pytestmark = pytest.mark.kafka


class Looking:
    """A topic of two partitions, in the first of which lie a to d, and a lookup in it."""

    def __init__(self, broker, topic):
        self.broker, self.topic = broker, topic
        self.produce(["a", "b", "c", "d"])
        given = {"type": "kafka", "brokers": broker.bootstrap, "topic": topic}
        self.first = ""
        """The mark of the topic that the feed began with."""
        self.lookup = open_lookup(
            KafkaOptions.model_validate(given),
            SourceContext(Path(), 1 << 20, 0, bounded=False),
            lambda records: records.heed_first(self.first),
        )

    def produce(self, values, partition=0):
        produce(self.broker, self.topic, values, partition=partition)

    def __call__(self, offset, partition=0):
        """The payload there, None where it is yet to come."""
        position = f"{self.topic}/{partition}@{offset}"
        block = self.lookup.payload(position)
        if block is None:
            return None
        assert (len(block), block.position(0)) == (1, position)
        return block.payload(0)

    def until_known(self, *place):
        """As a call, but waits for what is to come."""
        deadline = time.monotonic() + 60
        while (found := self(*place)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return found


@pytest.fixture
def look(broker, topics):
    looking = Looking(broker, topics({"records": 2})["records"])
    yield looking
    looking.lookup.close()


def test_each_record_is_found_in_any_order_and_what_is_to_come_is_waited_for(look):
    assert [look(offset) for offset in (2, 0, 3, 3, 1)] == [b"c", b"a", b"d", b"d", b"b"]
    assert (look(4), look(0, 1)) == (None, None)
    look.produce(["e"])
    look.produce(["z"], partition=1)
    assert (look.until_known(4), look.until_known(0, 1)) == (b"e", b"z")


def test_a_record_that_was_deleted_is_gone(look):
    client = admin(look.broker)
    place = TopicPartition(look.topic, 0, 2)
    client.delete_records([place])[place].result(30)
    assert look(2) == b"c"
    with pytest.raises(InputError, match=r"/0@1 holds no record, or no longer$"):
        look(1)


def test_what_was_aborted_and_the_ends_of_transactions_are_no_records(look):
    producer = Producer({"bootstrap.servers": look.broker.bootstrap, "transactional.id": look.topic})
    producer.init_transactions()
    for kept in (False, True, False):
        producer.begin_transaction()
        producer.produce(look.topic, b"x", partition=0)
        producer.flush()
        (producer.commit_transaction if kept else producer.abort_transaction)()
    assert look(6) == b"x"
    for offset in (4, 5, 7, 8, 9):
        with pytest.raises(InputError):
            look.until_known(offset)


def test_a_position_in_a_topic_that_was_made_anew_is_of_no_record_of_another_one(look):
    client = admin(look.broker)
    topics = client.describe_topics(TopicCollection([look.topic]))
    here = str(topics[look.topic].result(30).topic_id)[:8].replace("/", "_").replace("+", "-")
    block = look.lookup.payload(f"{look.topic}/0~{here}@1")
    assert block.payload(0) == b"b"
    with pytest.raises(InputError, match=r" is a position in a topic of this name that was deleted$"):
        look.lookup.payload(f"{look.topic}/0~elsewher@1")


def test_a_position_in_a_topic_that_was_deleted_is_of_no_record_in_the_one_that_has_its_name(look):
    look.first = str(Mark("A" * 21 + "Q", partitions=2))
    with pytest.raises(InputError, match=r" is a position in a topic of this name that was deleted$"):
        look(1)


def test_a_position_elsewhere_is_of_no_record_but_one_in_a_new_partition_is(look):
    for position in (
        "other/0@1",
        f"{look.topic}/0",
        f"{look.topic}/0@-1",
        f"{look.topic}/0@1x",
        f"{look.topic}/x@1",
    ):
        with pytest.raises(InputError, match=r" is no position in topic "):
            look.lookup.payload(position)
    with pytest.raises(InputError):
        look(0, 2)
    client = admin(look.broker)
    client.create_partitions([NewPartitions(look.topic, 3)])[look.topic].result(30)
    look.produce(["new"], partition=2)
    assert look(0, 2) == b"new"


def test_while_the_broker_is_away_a_record_is_yet_to_come_and_is_found_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(lookup, "_ENDS_HOLD", 0.0)
    with Broker(tmp_path) as broker:
        looking = Looking(broker, make_topics(broker, {"records": 2})["records"])
        assert looking(1) == b"b"
        broker.stop()
        assert [looking(9), looking(2), looking(0, 1), looking(9)] == [None] * 4
        broker.start()
        assert looking.until_known(2) == b"c"
        looking.lookup.close()
