"""Which topic of records a feed began with: told once on control, and heeded where the group's offsets are gone."""

from __future__ import annotations

import pytest
from kafka_feed import places, polled, some
from kafka_topics import committed, read_all
from kafka_updates_help import HERE, active, options
from streamad_connectors.kafka.control import RECORDS, records_key, write_records
from streamad_connectors.kafka.desk import KafkaDesk
from streamad_connectors.kafka.first_topic import first_topic
from streamad_connectors.kafka.ledger import Ledger
from streamad_connectors.kafka.topic_id import TopicId
from structlog.testing import capture_logs

from streamad.errors import InputError
from streamad.ports import ClusterContext, SourceContext

pytestmark = pytest.mark.kafka

KEY = b"key"


def told(broker, names):
    """What control says of it, each time that it does."""
    return [message.value for message in read_all(broker, names.control) if message.key.startswith(RECORDS)]


def letters(one):
    """What positions in the topic have of its id."""
    return one.topic_id()[:8].replace("/", "_").replace("+", "-")


def test_the_trainer_tells_once_which_topic_the_feed_began_with(broker, names, feed):
    one = feed(2)
    first = write_records(one.topic, one.mark(partitions=2), KEY)
    for _ in range(2):
        records = TopicId(options(broker), HERE, one.topic, 2)
        with active(broker, names, key=KEY, records=records):
            assert told(broker, names) == [first]
        one.make_anew(3)


@pytest.mark.parametrize("start", ["earliest", "latest", "committed"])
@pytest.mark.parametrize("policy", ["stop", "earliest", "latest"])
def test_where_no_offset_of_the_group_is_left_a_topic_made_anew_is_begun_as_on_lost_says_and_told_apart(
    broker, names, feed, start, policy
):
    one = feed()
    with active(broker, names, records=TopicId(options(broker), HERE, one.topic, 1)):
        pass
    one.make_anew()
    one.produce([b"a"] * 10, partition=0)
    assert committed(broker, one.group, one.topic) == {}
    heed = first_topic(options(broker), HERE, names.control, None)
    if policy == "stop":
        for _ in range(2):
            member = one.member(heed=heed, start=start)
            with pytest.raises(
                InputError, match=r"made anew since the feed began with it, and holds 0 up to 10 "
            ):
                polled(member, some(1))
            member.close()
        return
    with capture_logs() as logs:
        member = one.member(heed=heed, start=start, on_lost=policy)
        blocks = polled(member, lambda _: member.owned and member._gauge.figures({}, away=False).lag)
    one.produce([b"b"], partition=0)
    blocks += polled(member, lambda blocks: one.ends(blocks) == {0: 11})
    assert one.places(blocks) == (places(0, 0, 11) if policy == "earliest" else ["0@10"])
    assert len([entry for entry in logs if entry["event"] == "records_lost"]) == 1
    assert blocks[-1].position(0).startswith(f"{one.name(0)}~{letters(one)}@")


def test_of_two_topics_that_are_read_by_turns_each_is_known_as_it_was_first(broker, names, feed):
    first, second = feed(), feed()
    for one in (first, second):
        with active(broker, names, records=TopicId(options(broker), HERE, one.topic, 1)):
            pass
    first.make_anew()
    records = TopicId(options(broker), HERE, first.topic, 1)
    with active(broker, names, records=records):
        pass
    records.ask()
    first_topic(options(broker), HERE, names.control, None)(records)
    assert records.replaced


def test_at_a_desk_a_label_of_an_event_that_went_with_its_topic_needs_the_record_beside_it(
    broker, names, feed
):
    one = feed()
    with active(broker, names, records=TopicId(options(broker), HERE, one.topic, 1)):
        pass
    one.make_anew()
    context = ClusterContext("f", SourceContext(HERE, 1 << 20, 0, bounded=False), lambda: None, 1000, 10)
    desk = KafkaDesk(options(broker), one.options(), names, context, key=None)
    old = f"f/{one.name(0)}@3"
    events = [old, f"f/{one.name(0)}~{letters(one)}@3"]
    assert desk.give([{"event_id": event, "label": "normal"} for event in events]) == [
        f"{old} was in a topic that is deleted: its label needs the record beside it",
        None,
    ]


def test_what_is_told_of_the_first_topic_holds_under_another_signing_key_too(broker, names, feed):
    one = feed()
    with active(broker, names, key=None, records=TopicId(options(broker), HERE, one.topic, 1)):
        pass
    one.make_anew()
    records = TopicId(options(broker), HERE, one.topic, 1)
    with active(broker, names, key=KEY, records=records):
        records.ask()
        first_topic(options(broker), HERE, names.control, KEY)(records)
    assert records.replaced
    assert len(told(broker, names)) == 1


def test_what_is_no_mark_or_is_told_of_another_topic_does_not_count():
    ledger = Ledger(KEY, 1000)
    ledger.enter(records_key("conn"), write_records("conn", "x", KEY))
    assert (ledger.records, ledger.refusals.count) == ({}, 1)
    ledger.enter(records_key("conn"), write_records("conn", "A" * 22 + ":1", KEY))
    records = TopicId(None, HERE, "other", 6)
    records.known = "B" * 22
    records.heed_first(ledger.records.get(records.name))
    assert (records.anew, records.begun_with) == (False, 6)
