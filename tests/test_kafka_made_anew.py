"""The source ``kafka`` on a real broker, where the topic is deleted and made anew."""

from __future__ import annotations

from pathlib import Path

import processes
import pytest
from confluent_kafka.admin import NewPartitions
from feeds import stored_alerts, write_kafka_config, write_log
from kafka_broker import Broker
from kafka_feed import STEADY, Feed, Polling, blocks_of, places, polled, some, wait_for
from kafka_topics import admin, committed, led, make_topics
from streamad_connectors.kafka.overview import lag_of
from streamad_connectors.kafka.sink import SharedPlaces
from streamad_connectors.kafka.topic_id import Mark
from structlog.testing import capture_logs

from streamad.errors import InputError, StateError
from streamad.ports import Revoked
from streamad.records.batch import Block
from streamad.state.queries import Reader

pytestmark = pytest.mark.kafka

SOON = {"topic.metadata.refresh.interval.ms": 500, "topic.metadata.propagation.max.ms": 500}
"""For a member that is to see soon that a topic, or a broker, is gone or back."""


def made_anew(one, offset, holds=100):
    return (
        f"{one.name(0)}@{offset} is to be read next, but the topic was deleted and made anew since then, "
        f"and holds 0 up to {holds} there"
    )


@pytest.mark.parametrize(("policy", "read"), [("earliest", places(0, 0, 101)), ("latest", ["0@100"])])
def test_a_groups_offset_of_a_topic_that_was_deleted_is_no_place_in_the_one_that_was_made_anew(
    feed, policy, read
):
    one = feed()
    before = one.make_anew()
    one.produce([b"a"] * 100, partition=0)
    one.commit({0: 10}, before)
    with capture_logs() as logs:
        member = one.member(on_lost=policy)
        blocks = polled(member, lambda blocks: one.ends(blocks) == {0: 100})
    one.produce([b"new"], partition=0)
    blocks += polled(member, some(1))
    assert one.places(blocks) == read
    assert [entry["why"] for entry in logs if entry["event"] == "records_lost"] == [made_anew(one, 10)]
    with Polling(member):
        member.commit(SharedPlaces(member).offsets(blocks[-1].cursors))
    assert (committed(one.broker, one.group, one.topic), one.told()) == ({0: 101}, one.mark(anew=True))


def test_where_the_topic_was_made_anew_reading_stops_unless_told_otherwise(feed):
    one = feed()
    before = one.make_anew()
    one.produce([b"a"] * 100, partition=0)
    one.commit({0: 10}, before)
    with pytest.raises(InputError) as caught:
        one.member()
    assert str(caught.value) == (
        f"{made_anew(one, 10)}; source.on_lost: earliest or latest would go on with what it holds"
    )
    assert (committed(one.broker, one.group, one.topic), one.told()) == ({0: 10}, before)
    one.commit({0: 10}, one.topic_id())
    assert one.places(polled(one.member(), some(90))) == places(0, 10, 100)


def test_a_position_kept_elsewhere_is_known_to_be_of_a_topic_that_was_deleted(feed):
    one = feed()
    one.produce([b"a"] * 20, partition=0)
    kept = blocks_of(one.replay())[-1][0]
    assert kept == {one.name(0): {"offset": 20, "topic": one.mark()}}
    one.make_anew()
    one.produce([b"b"] * 30, partition=0)
    for source in (one.replay(), one.member(alone=True)):
        with pytest.raises(InputError) as caught:
            source.seek(kept)
        assert str(caught.value).startswith(made_anew(one, 20, 30))
    again = one.replay(on_lost="earliest")
    again.seek(kept)
    assert [offsets for _, offsets, _ in blocks_of(again)] == [[*range(30)]]
    alone = one.member(alone=True, on_lost="earliest")
    alone.seek(kept)
    found = polled(alone, some(30))
    assert one.places(found) == places(0, 0, 30)
    told_apart = f"{one.name(0)}~{one.topic_id()[:8].replace('/', '_').replace('+', '-')}@0"
    assert found[0].position(0) == told_apart
    alone.close()
    later = one.member(alone=True)
    later.seek({one.name(0): {**found[-1].cursors[one.name(0)], "offset": 0}})
    assert polled(later, some(30))[0].position(0) == told_apart


def made_smaller(feed):
    """A topic that had two partitions and has one, and the cursors of who had read the old one."""
    one = feed(2)
    for number in range(2):
        one.produce([b"a"] * 20, partition=number)
    kept = {name: cursor for cursors, _, _ in blocks_of(one.replay()) for name, cursor in cursors.items()}
    one.make_anew(1)
    one.produce([b"b"] * 30, partition=0)
    return one, kept


def test_a_partition_that_the_new_topic_has_not_is_left_out_or_stops(feed):
    one, kept = made_smaller(feed)
    kept = dict(sorted(kept.items(), reverse=True))
    for source in (one.replay(), one.member(alone=True)):
        with pytest.raises(
            InputError, match=r"/1@20 is to be read next, but the topic was deleted and made anew"
        ):
            source.seek(kept)
        source.close()
    again = one.replay(on_lost="earliest")
    again.seek(kept)
    assert [offsets for _, offsets, _ in blocks_of(again)] == [[*range(30)]]
    alone = one.member(alone=True, on_lost="earliest")
    alone.seek(kept)
    assert one.places(polled(alone, some(30))) == places(0, 0, 30)


def test_who_went_over_to_a_smaller_topic_is_not_stopped_again_and_reads_a_partition_that_comes_back(feed):
    one, kept = made_smaller(feed)

    def read(rows, **options):
        member = one.member(alone=True, **options)
        member.seek(kept)
        blocks = polled(member, some(rows))
        member.close()
        for block in blocks:
            kept.update(block.cursors)
        return one.places(blocks)

    assert read(30, on_lost="earliest") == places(0, 0, 30)
    one.produce([b"c"], partition=0)
    assert read(1, on_lost="stop") == ["0@30"]
    client = admin(one.broker)
    client.create_partitions([NewPartitions(one.topic, 2)])[one.topic].result(30)
    wait_for(lambda: led(client, one.topic) == 2)
    one.produce([b"d"] * 5, partition=1)
    assert read(5, on_lost="latest") == places(1, 0, 5)


def test_of_a_topic_made_anew_all_is_left_to_a_group_that_has_read_the_old_one(feed):
    one = feed()
    before = one.make_anew()
    one.produce([b"b"] * 30, partition=0)
    for topic_id, left in ((before, 30), (one.topic_id(), 10)):
        one.commit({0: 20}, one.mark(topic_id))
        assert lag_of(one.options(), Path(), one.topic, one.group) == ({one.name(0): left}, True)


@pytest.fixture
def looked_at_often(monkeypatch):
    """Members ask for the topic's id all the time."""
    monkeypatch.setattr("streamad_connectors.kafka.topic_id._LOOK_SECONDS", 0.1)


def ends_at(one, number):
    """Until the last block is the one that ends there."""
    return lambda found: bool(found) and isinstance(found[-1], Block) and one.ends(found[-1:]) == {0: number}


def reads_its_one(one, reading):
    """How far the only partition was read that this member owns; None while it owns another number of them."""
    owned = reading.source.owned
    blocks = [got for got in reading.found if isinstance(got, Block)]
    return one.ends(blocks).get(int(min(owned)[-1])) if len(owned) == 1 else None


def rows_of(one, found, topic_id):
    """Where the rows are that were read of the topic with this id."""
    blocks = [block for block in found if isinstance(block, Block)]
    return one.places(
        block
        for block in blocks
        if {Mark.of(cursor["topic"]).id for cursor in block.cursors.values()} == {topic_id}
    )


@pytest.mark.usefixtures("looked_at_often")
@pytest.mark.parametrize(("policy", "read"), [("earliest", places(0, 0, 101)), ("latest", ["0@100"])])
def test_a_topic_made_anew_while_a_member_reads_is_begun_anew_as_on_lost_says(feed, policy, read):
    one = feed()
    one.produce([b"a"] * 20, partition=0)
    released = []
    member = one.member(on_lost=policy, release=released.append, client=STEADY)
    polled(member, ends_at(one, 20))
    before = one.make_anew()
    one.produce([b"b"] * 100, partition=0)
    with capture_logs() as logs:
        found = polled(member, lambda found: Revoked((one.name(0),)) in found)
        found += polled(member, lambda _: member.owned and member._gauge.figures({}, away=False).lag)
    one.produce([b"new"], partition=0)
    found += polled(member, ends_at(one, 101))
    assert (rows_of(one, found, one.topic_id()), released) == (read, [(one.name(0),)])
    (lost,) = [entry["why"] for entry in logs if entry["event"] == "records_lost"]
    assert lost in {made_anew(one, 20), made_anew(one, 100)}  # it may have taken them for the old one's
    with Polling(member):
        member.commit(SharedPlaces(member).offsets(found[-1].cursors))
    assert one.told() == one.mark(anew=True) != one.mark(before, anew=True)


@pytest.mark.usefixtures("looked_at_often")
def test_a_topic_made_anew_while_a_member_reads_stops_it_and_those_that_are_started_later(feed):
    one = feed()
    one.produce([b"a"] * 20, partition=0)
    member = one.member(client=STEADY)
    polled(member, ends_at(one, 20))
    before = one.make_anew()
    one.produce([b"b"] * 10, partition=0)
    said = f"{made_anew(one, 20, 10)}; source.on_lost: earliest or latest would go on with what it holds"
    with pytest.raises(InputError) as caught:
        polled(member)
    member.close()
    assert (str(caught.value), committed(one.broker, one.group, one.topic)) == (said, {0: 20})
    assert one.told() == one.mark(before)
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            one.member()
        assert str(caught.value) == said
    told_to_go_on = one.member(on_lost="earliest")
    assert one.places(polled(told_to_go_on, some(10))) == places(0, 0, 10)


def away_for_long(one, member):
    """Delete the topic that it reads, and make it anew when the member has noticed."""
    with capture_logs() as logs, Polling(member):
        one.delete()
        wait_for(lambda: any("is not there any more" in entry.get("said", "") for entry in logs))
    one.make()
    one.produce([b"b"] * 30, partition=0)


@pytest.mark.usefixtures("looked_at_often")
@pytest.mark.parametrize("alone", [False, True])
def test_a_topic_that_is_away_for_long_is_waited_for_and_begun_anew_as_on_lost_says(feed, alone):
    one = feed()
    one.produce([b"a"] * 20, partition=0)
    member = one.member(alone=alone, on_lost="earliest", client=SOON)
    polled(member, ends_at(one, 20))
    away_for_long(one, member)
    now = one.topic_id()
    found = polled(member, lambda found: len(rows_of(one, found, now)) == 30)
    assert rows_of(one, found, now) == places(0, 0, 30)


@pytest.mark.usefixtures("looked_at_often")
@pytest.mark.parametrize("alone", [False, True])
def test_a_topic_that_is_away_for_long_stops_who_reads_it_once_it_is_made_anew(feed, alone):
    one = feed()
    one.produce([b"a"] * 20, partition=0)
    member = one.member(alone=alone, client=SOON)
    polled(member, ends_at(one, 20))
    away_for_long(one, member)
    with pytest.raises(
        InputError, match="is to be read next, but the topic was deleted and made anew since then"
    ):
        polled(member)


@pytest.mark.usefixtures("looked_at_often")
def test_a_topic_made_anew_is_begun_anew_alone_and_nothing_is_revoked(feed):
    one = feed()
    one.produce([b"a"] * 20, partition=0)
    member = one.member(alone=True, on_lost="earliest", client=STEADY)
    polled(member, ends_at(one, 20))
    one.make_anew()
    one.produce([b"b"] * 30, partition=0)
    now = one.topic_id()
    found = polled(member, lambda found: len(rows_of(one, found, now)) == 30)
    assert rows_of(one, found, now) == places(0, 0, 30)
    assert [type(got) for got in found] == [Block] * len(found)


@pytest.mark.usefixtures("looked_at_often")
def test_a_topic_made_anew_is_read_whole_by_all_members_of_a_group_and_has_all_their_offsets(feed):
    one = feed(2)
    for number in (0, 1):
        one.produce([b"a"] * 20, partition=number)
    first, second = (one.member(on_lost="earliest", client=STEADY) for _ in range(2))
    with Polling(first) as a, Polling(second) as b:
        wait_for(lambda: [reads_its_one(one, reading) for reading in (a, b)] == [20, 20])
        one.make_anew(2)
        for number in (0, 1):
            one.produce([b"b"] * 100, partition=number)
        now, every = one.topic_id(), sorted(places(0, 100) + places(1, 100))
        wait_for(lambda: {*rows_of(one, a.found + b.found, now)} == {*every})
        wait_for(lambda: len(first.owned) == len(second.owned) == 1)
    assert committed(one.broker, one.group, one.topic) == {0: 0, 1: 0}
    assert one.told() == one.mark(partitions=2, anew=True)


def test_a_topic_made_anew_after_its_broker_was_restarted_is_noticed_too(tmp_path):
    with Broker(tmp_path / "broker") as broker:
        one = Feed(broker, make_topics(broker, {"records": 1})["records"])
        one.produce([b"a"] * 20, partition=0)
        member = one.member(on_lost="earliest", client=SOON | {"session.timeout.ms": 45_000})
        with Polling(member) as reading:
            wait_for(lambda: ends_at(one, 20)(reading.found))
            broker.stop()
            broker.start()
            one.produce([b"a"] * 50, partition=0)
            wait_for(lambda: ends_at(one, 70)(reading.found))
            one.make_anew()
            one.produce([b"b"] * 30, partition=0)
            now = one.topic_id()
            wait_for(lambda: len(rows_of(one, reading.found, now)) == 30)
        assert rows_of(one, reading.found, now) == places(0, 0, 30)
        member.close()


def test_a_state_directory_goes_on_with_a_topic_that_was_made_anew(tmp_path, feed):
    one, lines = feed(), write_log(tmp_path, 3000)
    source = {"brokers": one.broker.bootstrap, "topic": one.topic, "group": one.group}
    config = write_kafka_config(tmp_path, source, training={"warm_up": {"records": 1000}})
    state = config.with_suffix(".state")
    one.produce(lines, partition=0)
    for records, options in ((3000, ()), (6000, ("--set", "source.on_lost=earliest"))):
        process = processes.start("run", config, *options, log=tmp_path / "run.log")
        processes.wait_for(lambda records=records: records_in(state) == records, process)
        assert processes.stop(process, 15)[0] == 0
        one.make_anew()
        one.produce(lines, partition=0)
    generations = {alert["event_id"].partition("@")[0] for alert in stored_alerts(state)}
    assert len(generations) == 2
    incomplete = [
        line for line in (tmp_path / "run.log").read_text().splitlines() if "window_incomplete" in line
    ]
    assert (
        len(incomplete) == 1
    )  # equal records, of another topic: they are scored before anything learns from them


def records_in(state):
    """How many records a state directory has met."""
    try:
        with Reader(state / "store.db") as reader:
            return reader.counts().records
    except StateError:  # not yet
        return 0
