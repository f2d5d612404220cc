"""The source ``kafka`` on a real broker: groups, starts, ends, what is aborted, what is lost."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from datetime import UTC, datetime

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation, NewPartitions, ResourceType
from kafka_broker import USERS
from kafka_feed import (
    RECORD_BYTES,
    SECONDS,
    Polling,
    blocks_of,
    offsets_in,
    places,
    polled,
    some,
    wait_for,
)
from kafka_topics import admin, allow, committed, end_offsets
from pydantic import SecretStr
from records_help import decoder
from streamad_connectors.kafka import record_topic, replay
from streamad_connectors.kafka.errands import commit_now
from streamad_connectors.kafka.sink import SharedPlaces
from structlog.testing import capture_logs

from streamad.errors import InputError, UserError
from streamad.ports import End, Idle, Revoked
from streamad.records.schema import PayloadFormat, Schema
from streamad.runtime.committer import rejected_rows

pytestmark = pytest.mark.kafka


def test_every_kind_of_payload_is_a_record_or_has_its_reason_and_its_position(feed):
    one = feed(3, max_message_bytes=2 * RECORD_BYTES)
    one.produce([b"{}"] * 1042, partition=2)
    one.commit({2: 1042})
    framed, long = b"\0\0\0\0\x07" + b'{"n":1}', b'{"n":"' + b"x" * RECORD_BYTES + b'"}'
    one.produce([b'{"n":1}', b'{\n "n": 2\n}\r\n', None, b"", framed, long, b"[]", b'{"n":3}'], partition=2)
    (block,) = polled(one.member(), some(8))
    batch = decoder(PayloadFormat(format="ndjson"), Schema(fields={"n": "numeric"})).decode(block, 0)
    assert [block.position(row) for row in range(8)] == [
        f"{one.topic}/2@{offset}" for offset in range(1042, 1050)
    ]
    assert {block.position(row): (why.reason, why.detail) for row, why in batch.rejections.items()} == {
        f"{one.topic}/2@1044": ("empty", "a tombstone"),
        f"{one.topic}/2@1045": ("empty", "an empty message"),
        f"{one.topic}/2@1046": ("framed", block.faults[4].detail),
        f"{one.topic}/2@1047": ("too_long", f"{len(long)} bytes"),
        f"{one.topic}/2@1048": ("not_an_object", batch.rejections[6].detail),
    }
    assert "schema id 7" in block.faults[4].detail
    (rejected,) = (row for row in rejected_rows(batch, "") if row["reason"] == "too_long")
    assert rejected["bytes_base64"] == base64.b64encode(long[:4096]).decode()
    assert (rejected["length"], rejected["sha256"]) == (len(long), hashlib.sha256(long).hexdigest())
    assert batch.numbers[[0, 1, 7], 0].tolist() == [1, 2, 3]


def test_what_was_aborted_never_comes_and_the_cursor_goes_past_it_so_that_no_lag_stays(feed):
    one = feed()
    one.transaction([b"kept"] * 3)
    one.transaction([b"aborted"] * 3, kept=False)
    member = one.member()
    blocks = polled(member, lambda blocks: one.ends(blocks) == {0: 8})
    assert one.places(blocks) == places(0, 3)
    member.commit(one.offsets(one.ends(blocks)))
    assert committed(one.broker, one.group, one.topic) == end_offsets(one.broker, one.topic) == {0: 8}
    one.transaction([b"aborted"] * 3, kept=False)
    (block,) = polled(member, len)
    assert (len(block), one.ends([block])) == (0, {0: 12})
    assert polled(member, seconds=0.3) == []


@pytest.mark.parametrize(
    ("start", "first"),
    [("earliest", 0), ("latest", 20), (datetime(2026, 1, 2, tzinfo=UTC), 10), ("2027-01-01T00:00:00Z", 20)],
)
def test_without_an_offset_of_the_group_start_says_where_to_begin_and_the_cursor_tells_it(feed, start, first):
    one = feed()
    for day in (1, 2):
        moment = datetime(2026, 1, day, tzinfo=UTC).timestamp()
        one.produce([b"old"] * 10, partition=0, timestamp=int(moment * 1000))
    member = one.member(start=start)
    blocks = polled(member, lambda blocks: one.ends(blocks) == {0: 20})
    assert one.places(blocks) == places(0, first, 20)
    one.produce([b"new"], partition=0)
    assert one.places(polled(member, some(1))) == ["0@20"]


@pytest.mark.parametrize("start", ["earliest", "latest", "2026-01-02T00:00:00Z"])
def test_where_a_member_began_the_next_one_begins_too_though_nothing_was_committed_in_between(feed, start):
    one = feed(2)
    began = {0: 0, 1: 0} if start == "earliest" else {0: 4, 1: 0}
    one.produce([b"old"] * 4, partition=0, timestamp=1_700_000_000_000)
    first = one.member(start=start)
    polled(first, lambda blocks: one.ends(blocks).get(0) == 4)
    one.produce([b"held"] * 9, partition=0)
    one.produce([b"held"] * 7, partition=1)
    polled(first, some(16))
    assert committed(one.broker, one.group, one.topic) == began
    assert one.told() == one.mark(partitions=2)
    second = one.member(start=start)
    with Polling(second) as other:
        (revoked,) = polled(first, len)
        wait_for(lambda: some(7)(other.found))
    assert isinstance(revoked, Revoked)
    first.close()
    rest = polled(second, lambda blocks: one.ends(other.found + blocks) == {0: 13, 1: 7})
    assert one.places(other.found + rest) == sorted(places(0, began[0], 13) + places(1, 7))


def test_a_group_that_begins_anew_takes_no_beginning_and_is_offered_the_next_one(feed, monkeypatch):
    one, refused = feed(), []

    def refuse_once(consumer, offsets):
        if not refused:
            refused.append(offsets[0].offset)
            one.produce([b"a"] * 5, partition=0)
            raise KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS))
        commit_now(consumer, offsets)

    monkeypatch.setattr(record_topic, "commit_now", refuse_once)
    polled(one.member(start="latest"), lambda _: committed(one.broker, one.group, one.topic), seconds=SECONDS)
    assert (refused, committed(one.broker, one.group, one.topic)) == ([0], {0: 5})


def test_who_reads_alone_and_who_reads_again_leave_the_group_no_beginning(feed):
    one = feed()
    one.produce([b"a"] * 5, partition=0)
    polled(one.member(alone=True), some(5))
    polled(one.replay(), some(5))
    assert committed(one.broker, one.group, one.topic) == {}


def test_the_offset_of_the_group_wins_over_start(feed):
    one = feed(2)
    for number in (0, 1):
        one.produce([b"a"] * 10, partition=number)
    one.commit({0: 7, 1: 9})
    assert one.places(polled(one.member(start="latest"), some(4))) == ["0@7", "0@8", "0@9", "1@9"]


def test_start_committed_refuses_a_partition_without_an_offset(feed):
    one = feed(2)
    one.commit({0: 0})
    with pytest.raises(InputError) as caught:
        polled(one.member(start="committed"))
    assert str(caught.value) == (
        f"group {one.group} has no offset for {one.name(1)}, and source.start is committed: "
        "earliest, latest or a time would say where to begin"
    )


@pytest.mark.parametrize(("policy", "read"), [("earliest", places(0, 50, 101)), ("latest", ["0@100"])])
@pytest.mark.parametrize("lost", [10, 500])
def test_where_the_next_record_is_gone_on_lost_decides_and_says_what_is_missing(feed, policy, read, lost):
    one = feed()
    one.produce([b"a"] * 100, partition=0)
    one.commit({0: lost})
    one.delete_before({0: 50})
    member = one.member(on_lost=policy)
    with capture_logs() as logs:
        blocks = polled(member, lambda blocks: one.ends(blocks) == {0: 100})
    one.produce([b"new"], partition=0)
    assert one.places(blocks + polled(member, some(1))) == read
    assert [entry for entry in logs if entry["event"] == "records_lost"] == [
        {
            "event": "records_lost",
            "log_level": "warning",
            "records": {(10, "earliest"): 40, (10, "latest"): 90}.get((lost, policy)),
            "why": f"{one.name(0)}@{lost} is to be read next, but the topic holds 50 up to 100 there",
            "going_on_at": 50 if policy == "earliest" else 100,
        }
    ]


def test_where_the_next_record_is_gone_reading_stops_unless_told_otherwise(feed):
    one = feed()
    one.produce([b"a"] * 100, partition=0)
    one.commit({0: 10})
    one.delete_before({0: 50})
    with pytest.raises(InputError) as caught:
        polled(one.member())
    assert str(caught.value) == (
        f"{one.name(0)}@10 is to be read next, but the topic holds 50 up to 100 there; "
        "source.on_lost: earliest or latest would go on with what it holds"
    )


def test_a_new_partition_is_read_from_its_beginning_whatever_start_says(feed):
    one = feed()
    member = one.member(start="latest")
    polled(member, len)
    client = admin(one.broker)
    client.create_partitions([NewPartitions(one.topic, 2)])[one.topic].result(SECONDS)
    wait_for(lambda: 1 in end_offsets(one.broker, one.topic))
    one.produce([b"a"] * 5, partition=1)
    assert one.places(polled(member, some(5))) == places(1, 5)


@pytest.mark.parametrize("start", ["latest", "committed"])
@pytest.mark.parametrize("alone", [False, True])
def test_a_partition_that_came_while_nobody_read_is_read_from_its_beginning(feed, alone, start):
    one = feed()
    one.produce([b"a"] * 3, partition=0)
    first = one.member(alone=alone)
    blocks = polled(first, lambda blocks: one.ends(blocks) == {0: 3})
    if not alone:
        with Polling(first):
            first.commit(SharedPlaces(first).offsets(blocks[-1].cursors))
    first.close()
    client = admin(one.broker)
    client.create_partitions([NewPartitions(one.topic, 2)])[one.topic].result(SECONDS)
    wait_for(lambda: 1 in end_offsets(one.broker, one.topic))
    one.produce([b"a"] * 5, partition=1)
    second = one.member(alone=alone, start=start)
    second.seek(blocks[-1].cursors)
    assert one.places(polled(second, some(5))) == places(1, 5)


def test_seek_goes_back_to_the_positions_named_and_else_to_where_it_began(feed):
    one = feed(3)
    for number in range(3):
        one.produce([b"a"] * 10, partition=number)
    one.commit({0: 4, 1: 6, 2: 8})
    member = one.member()
    member.seek(one.positions({0: 1}))  # of an earlier owner: the group's offset counts
    assert one.ends(polled(member, some(12), rows=5)) == {0: 10, 1: 10, 2: 10}
    member.seek(one.positions({0: 7, 1: 2}))
    assert one.places(polled(member, some(9), rows=5)) == sorted(
        places(0, 7, 10) + places(1, 6, 10) + places(2, 8, 10)
    )
    assert polled(member, seconds=0.3) == []


def test_a_second_member_gets_its_share_only_when_the_first_has_released_it(feed):
    one = feed(4)
    for number in range(4):
        one.produce([b"a"] * 100, partition=number)
    events = []

    def release(names):
        events.append(("released", names, first.owned))
        time.sleep(0.5)  # the other one waits
        first.commit(one.offsets({int(name[-1]): 60 for name in names}))
        events.append(("committed", names))

    first, second = one.member(release=release), one.member()
    before = polled(first, some(400))
    assert first.owned == {one.name(number) for number in range(4)}
    with Polling(second) as other:
        (revoked,) = polled(first, len)
        events.append(("told", revoked.partitions))
        assert polled(first, lambda _: some(80)(other.found)) == []
    gone = revoked.partitions
    assert events == [
        ("released", gone, frozenset(one.name(number) for number in range(4))),
        ("committed", gone),
        ("told", gone),
    ]
    assert (len(gone), second.owned) == (2, frozenset(gone))
    assert first.owned == {one.name(number) for number in range(4)} - set(gone)
    assert one.places(before) == sorted(place for number in range(4) for place in places(number, 100))
    assert one.places(other.found) == sorted(
        place for name in gone for place in places(int(name[-1]), 60, 100)
    )
    second.close()
    polled(first, lambda _: len(first.owned) == 4)


def test_rows_read_ahead_of_what_stays_outlive_a_revocation_and_nothing_stays_paused(feed):
    one = feed(2)
    for number in (0, 1):
        one.produce([b"a"] * 100, partition=number)
    first, second = one.member(), one.member()
    blocks = polled(first, some(20), rows=20)
    with Polling(second):
        while not isinstance(got := first.poll(0, 0.02), Revoked):
            assert isinstance(got, Idle)
        wait_for(lambda: second.owned)
    (gone,), (kept,) = got.partitions, first.owned
    second.close()
    while len(first.owned) < 2:
        assert first.poll(0, 0.02) == Idle()
    gone, kept = int(gone[-1]), int(kept[-1])
    rest = polled(first, lambda more: one.ends(more) == {0: 100, 1: 100})
    assert [place for place in one.places(blocks + rest) if place[0] == f"{kept}"] == places(kept, 100)
    assert [place for place in one.places(rest) if place[0] == f"{gone}"] == places(gone, 100)


def test_a_partition_that_went_and_came_back_within_one_poll_begins_at_the_offset_of_the_group(feed):
    one = feed(2)
    for number in (0, 1):
        one.produce([b"a"] * 100, partition=number)
    first = one.member(release=lambda names: first.commit(one.offsets({int(n[-1]): 30 for n in names})))
    polled(first, some(200))
    second = one.member()

    def come_and_go():
        with Polling(second):
            wait_for(lambda: second.owned)
        second.close()

    visit = threading.Thread(target=come_and_go)
    visit.start()
    revoked = first.poll(500, 6)
    visit.join()
    assert isinstance(revoked, Revoked)
    assert first.owned == {one.name(0), one.name(1)}
    (gone,) = revoked.partitions
    assert one.places(polled(first, some(70))) == places(int(gone[-1]), 30, 100)


def test_serving_without_taking_rows_keeps_the_membership_and_loses_no_row(feed):
    one = feed(2)
    for number in (0, 1):
        one.produce([b"a"] * 500, partition=number)
    member = one.member(client={"max.poll.interval.ms": 2000})
    blocks = polled(member, some(200), rows=100)
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        assert member.poll(0, 0.02) == Idle()
        assert len(member.owned) == 2
    blocks += polled(member, some(1000 - sum(map(len, blocks))), rows=100)
    assert one.places(blocks) == sorted(places(0, 500) + places(1, 500))
    assert {len(block) for block in blocks} <= set(range(101))


def test_a_member_that_was_away_too_long_is_told_without_being_asked_and_begins_anew(feed):
    one = feed()
    one.produce([b"a"] * 10, partition=0)
    asked = []
    member = one.member(release=asked.append, client={"max.poll.interval.ms": 2000})
    polled(member, some(10))
    member.commit(one.offsets({0: 4}))
    time.sleep(3)
    with capture_logs() as logs:
        found = polled(member, lambda found: some(6)(found[1:]))
    assert (found[0], asked) == (Revoked((one.name(0),)), [])
    assert one.places(found[1:]) == places(0, 4, 10)
    assert [entry["partitions"] for entry in logs if entry["event"] == "partitions_lost"] == [(one.name(0),)]


def test_a_renewed_member_leaves_joins_again_and_goes_on_from_the_offsets_of_the_group(feed):
    one = feed(2)
    for number in (0, 1):
        one.produce([b"a"] * 10, partition=number)
    asked = []
    member = one.member(release=asked.append)
    polled(member, some(20))
    member.commit(one.offsets({0: 3, 1: 9}))
    identity = member.group_metadata()
    member.renew()
    assert member.owned == frozenset()
    member.seek(one.positions({0: 10}))
    found = polled(member, lambda found: some(8)(found[1:]))
    assert (found[0], asked) == (Revoked((one.name(0), one.name(1))), [])
    assert one.places(found[1:]) == [*places(0, 3, 10), "1@9"]
    assert member.owned == {one.name(0), one.name(1)}
    assert member.group_metadata() != identity


def test_a_member_that_is_told_nothing_for_long_tries_another_client(feed, monkeypatch):
    one = feed()
    one.produce([b"a"] * 10, partition=0)
    member = one.member()
    polled(member, some(10))
    before = member._consumer
    member._gauge.unsettle()  # as when the group took the partitions away
    assert isinstance(member.poll(10, 0.05), Idle)
    assert member._consumer is before
    monkeypatch.setattr("streamad_connectors.kafka.gauge._STUCK_SECONDS", 0.0)
    assert member.poll(10, 0.05) == Revoked((one.name(0),))
    monkeypatch.undo()
    assert one.places(polled(member, some(10))) == places(0, 10)
    assert member._consumer is not before


def test_alone_the_positions_named_win_over_the_offsets_of_the_group_and_nothing_is_revoked(feed):
    one = feed(2)
    for number in (0, 1):
        one.produce([b"a"] * 10, partition=number)
    one.commit({0: 5, 1: 5})
    member = one.member(alone=True, client={"max.poll.interval.ms": 2000})
    member.seek(one.positions({0: 2}))
    assert one.places(polled(member, some(13))) == places(0, 2, 10) + places(1, 5, 10)
    time.sleep(3)  # put out of the group
    one.produce([b"a"], partition=0)
    assert one.places(polled(member, some(1))) == ["0@10"]
    member.seek(one.positions({0: 8}))
    assert one.places(polled(member, some(8))) == sorted(places(0, 8, 11) + places(1, 5, 10))


def test_alone_a_seek_counts_also_before_the_first_row(feed):
    one = feed()
    one.produce([b"a"] * 10, partition=0)
    member = one.member(alone=True)
    while not member.owned:
        assert member.poll(500, 0) == Idle()
    member.seek(one.positions({0: 6}))
    assert one.places(polled(member, some(4))) == places(0, 6, 10)
    member.seek(one.positions({0: 3}))
    assert one.places(polled(member, some(7))) == places(0, 3, 10)


def test_alone_a_second_reader_is_refused_and_the_first_goes_on(feed):
    one = feed(2)
    first, second = one.member(alone=True), one.member(alone=True)
    with Polling(first) as reading:
        wait_for(lambda: len(first.owned) == 2)
        with pytest.raises(InputError) as caught:
            polled(second)
        second.close()
        wait_for(lambda: len(first.owned) == 2)
        one.produce([b"a"], partition=1)
        wait_for(lambda: some(1)(reading.found))
    assert one.places(reading.found) == ["1@0"]
    assert str(caught.value) == (
        f"group {one.group} has another member on topic {one.topic}, and a state directory is for one reader: "
        "end the other one, choose another source.group, or keep the state in Kafka"
    )


def test_a_replay_gives_full_blocks_partition_by_partition_twice_the_same_and_ends(feed):
    one = feed(3)
    one.produce([b"%d" % number for number in range(250)], partition=0)
    one.produce([b"a"] * 100, partition=2)
    first, second = one.replay(), one.replay()
    one.produce([b"too late"] * 10, partition=0)
    blocks = blocks_of(first)
    assert [(*offsets_in(cursors), len(rows)) for cursors, _, rows in blocks] == [
        ((one.name(0), 100), 100),
        ((one.name(0), 200), 100),
        ((one.name(0), 250), 50),
        ((one.name(2), 100), 100),
    ]
    assert [payload for _, _, rows in blocks for payload in rows] == [
        b"%d" % number for number in range(250)
    ] + [b"a"] * 100
    assert blocks_of(second) == blocks
    second.seek(one.positions({0: 200}))
    assert second.progress() == pytest.approx(200 / 350)
    assert blocks_of(second) == blocks[2:]
    assert (second.progress(), second.poll(0, 0), second.poll(1, 0)) == (1.0, Idle(), End())
    with pytest.raises(InputError, match=r"/7@3 is to be read next, but the topic .* has no such partition"):
        second.seek(one.positions({7: 3}))


def test_a_replay_ends_behind_what_was_aborted_and_before_what_is_open(feed):
    one = feed()
    one.transaction([b"kept"] * 3)
    one.transaction([b"aborted"] * 3, kept=False)
    assert [offsets for _, offsets, _ in blocks_of(one.replay())] == [[0, 1, 2]]


def test_a_replay_cuts_a_block_at_the_row_that_makes_it_too_large(feed, monkeypatch):
    monkeypatch.setattr(replay, "BLOCK_BYTES", 25)
    one = feed()
    one.produce([b"x" * 10] * 7, partition=0)
    assert [offsets for _, offsets, _ in blocks_of(one.replay())] == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize(
    ("start", "first"),
    [("latest", []), (datetime(2026, 1, 2, tzinfo=UTC), [5]), ("committed", [3])],
)
def test_a_replay_begins_where_start_says(feed, start, first):
    one = feed()
    for day in (1, 2):
        moment = datetime(2026, 1, day, tzinfo=UTC).timestamp()
        one.produce([b"a"] * 5, partition=0, timestamp=int(moment * 1000))
    one.commit({0: 3})
    assert [offsets[0] for _, offsets, _ in blocks_of(one.replay(start=start))] == first


def test_a_replay_whose_position_is_gone_goes_on_as_on_lost_says(feed):
    one = feed()
    one.produce([b"a"] * 10, partition=0)
    one.delete_before({0: 6})
    again = one.replay(on_lost="earliest")
    again.seek(one.positions({0: 2}))
    assert [offsets for _, offsets, _ in blocks_of(again)] == [[6, 7, 8, 9]]
    with pytest.raises(InputError, match=r"/0@2 is to be read next, but the topic holds 6 up to 10 there"):
        one.replay().seek(one.positions({0: 2}))


def test_a_payload_as_large_as_the_broker_takes_comes_through_or_is_rejected_whole(feed):
    one = feed(max_message_bytes=9_000_000)
    fits, large = b"x" * RECORD_BYTES, b"y" * 8_900_000
    one.produce([b"before", fits, large, b"behind"], partition=0)
    blocks = polled(one.member(), some(4))
    assert one.places(blocks) == places(0, 4)
    payloads = {int(b.offsets[row]): b.payload(row) for b in blocks for row in range(len(b))}
    assert [payloads[0], payloads[1], payloads[3]] == [b"before", fits, b"behind"]
    assert payloads[2] == large


def test_who_may_not_join_the_group_is_told_so(feed):
    one = feed()
    if one.broker.secure_bootstrap is None:
        pytest.skip("STREAMAD_KAFKA names no listener with users")
    allow(one.broker, "nobody", ResourceType.TOPIC, one.topic, AclOperation.READ, AclOperation.DESCRIBE)
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "nobody"}
    secret = {"sasl.password": SecretStr(USERS["nobody"])}
    member = one.member(brokers=one.broker.secure_bootstrap, client=login | secret)
    with pytest.raises(UserError) as caught:
        polled(member)
    said = f"the right Read on group {one.group} is missing: give it to the user nobody"
    assert str(caught.value) == f"reading topic {one.topic}: {said}"


def test_closing_is_quick_and_leaves_the_partitions_to_the_others_at_once(feed):
    one = feed()
    asked = []
    first = one.member(release=asked.append)
    polled(first, lambda _: first.owned)
    began = time.monotonic()
    first.close()
    assert (first.owned, asked, time.monotonic() - began < 1) == (frozenset(), [], True)
    second = one.member(client={"session.timeout.ms": 45_000})  # more than a rebalance waits by default
    polled(second, lambda _: second.owned)
    assert time.monotonic() - began < 10
