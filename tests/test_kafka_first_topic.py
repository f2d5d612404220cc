"""Which topic of records a feed began with: told once on control, and heeded where the group's offsets are gone."""

from __future__ import annotations

import pytest
from kafka_feed import polled, some
from kafka_topics import committed, read_all
from kafka_updates_help import HERE, active, options
from streamad_connectors.kafka.control import RECORDS, write_records
from streamad_connectors.kafka.first_topic import first_topic
from streamad_connectors.kafka.ledger import Ledger
from streamad_connectors.kafka.topic_id import TopicId

pytestmark = pytest.mark.kafka

KEY = b"key"


def told(broker, names):
    """What control says of it, each time that it does."""
    return [message.value for message in read_all(broker, names.control) if message.key == RECORDS]


def test_the_trainer_tells_once_which_topic_the_feed_began_with(broker, names, feed):
    one = feed(2)
    first = write_records(one.topic, one.mark(partitions=2), KEY)
    for _ in range(2):
        records = TopicId(options(broker), HERE, one.topic, 2)
        with active(broker, names, key=KEY, records=records):
            assert told(broker, names) == [first]
        one.make_anew(3)


def test_where_no_offset_of_the_group_is_left_records_of_a_topic_made_anew_are_told_apart_too(
    broker, names, feed
):
    one = feed()
    with active(broker, names, records=TopicId(options(broker), HERE, one.topic, 1)):
        pass
    one.make_anew()
    one.produce([b"a"], partition=0)
    assert committed(broker, one.group, one.topic) == {}
    heed = first_topic(options(broker), HERE, names.control, None)
    member = one.member(heed=heed)
    (block,) = polled(member, some(1))
    letters = one.topic_id()[:8].replace("/", "_").replace("+", "-")
    assert block.position(0) == f"{one.name(0)}~{letters}@0"


def test_what_is_told_of_another_topic_or_by_somebody_else_does_not_count():
    ledger = Ledger(KEY, 1000)
    ledger.enter(RECORDS, write_records("conn", "x", None))
    assert (ledger.records, ledger.refusals.count) == (("", ""), 1)
    ledger.enter(RECORDS, write_records("conn", "A" * 22 + ":1", KEY))
    records = TopicId(None, HERE, "other", 6)
    records.known = "B" * 22
    records.heed_first(*ledger.records)
    assert (records.anew, records.begun_with) == (False, 6)
