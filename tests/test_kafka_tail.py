"""Where a trainer begins in a topic, and to where it jumps when it is late, on a real broker."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from kafka_topics import produce
from streamad_connectors.kafka import tail as tail_module
from streamad_connectors.kafka.shares import shares
from streamad_connectors.kafka.source import KafkaOptions, open_tail
from structlog.testing import capture_logs

from streamad.ports import SourceContext
from streamad.records.batch import Block

WINDOW = 300


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ({}, {}),
        ({0: 5, 1: 0, 2: 7}, {0: 5, 1: 0, 2: 7}),
        ({0: 1000, 1: 1000, 2: 1000}, {0: 100, 1: 100, 2: 100}),
        ({0: 1000, 1: 10, 2: 0}, {0: 290, 1: 10, 2: 0}),
        ({0: 120, 1: 1000, 2: 20}, {0: 120, 1: 160, 2: 20}),
    ],
)
def test_what_small_partitions_leave_of_their_share_goes_to_the_others(sizes, taken):
    assert shares(sizes, WINDOW) == taken


def read(tail, **ends):
    """(the lowest offset, the number of records) of each partition, read up to these ends: p0=1000."""
    found, deadline = [], time.monotonic() + 30
    while ends:
        assert time.monotonic() < deadline
        got = tail.poll(1000, 0.1)
        if isinstance(got, Block):
            found += [(int(got.partition(row)[-1]), int(got.offsets[row])) for row in range(len(got))]
            cursors = {name[-1]: cursor["offset"] for name, cursor in got.cursors.items()}
            ends = {name: end for name, end in ends.items() if cursors.get(name[1:]) != end}
    counts = Counter(number for number, _ in found)
    return {number: (min(at for part, at in found if part == number), counts[number]) for number in counts}


@pytest.fixture
def opened(broker, topics):
    """A topic of three partitions, and what opens a tail of it."""
    topic = topics({"records": 3})["records"]
    options = KafkaOptions(type="kafka", brokers=broker.bootstrap, topic=topic)
    tails = []

    def opened(*sizes):
        for number, size in enumerate(sizes):
            produce(broker, topic, [b"x"] * size, partition=number)
        if not tails:
            tails.append(open_tail(options, SourceContext(Path(), 1 << 20, 0, bounded=False), WINDOW))
        return tails[0]

    yield opened
    for tail in tails:
        tail.close()


@pytest.mark.kafka
def test_of_a_topic_that_has_nearly_all_in_one_partition_a_whole_window_is_read(opened):
    assert read(opened(1000, 10, 0), p0=1000, p1=10) == {0: (710, 290), 1: (0, 10)}


@pytest.mark.kafka
def test_a_partition_that_gets_nearly_all_is_jumped_over_only_where_twice_the_window_came(
    opened, monkeypatch
):
    monkeypatch.setattr(tail_module, "_LOOK_SECONDS", 0.0)
    tail = opened(300, 300, 300)
    assert read(tail, p0=300, p1=300, p2=300) == {0: (200, 100), 1: (200, 100), 2: (200, 100)}
    opened(250, 5, 5)
    assert read(tail, p0=550, p1=305, p2=305) == {0: (300, 250), 1: (300, 5), 2: (300, 5)}
    opened(1000, 5, 5)
    with capture_logs() as logs:
        read(tail, p0=1550, p1=310, p2=310)
    jumps = [(log["partition"], log["records"]) for log in logs if log["event"] == "jumped_forward"]
    assert jumps == [(0, 900)]


@pytest.mark.kafka
def test_a_topic_made_anew_is_read_from_its_last_records_on_however_many_it_has(feed, monkeypatch):
    monkeypatch.setattr(tail_module, "_LOOK_SECONDS", 0.1)
    one = feed()
    one.produce([b"x"] * 200, partition=0)
    tail = open_tail(one.options(), SourceContext(Path(), 1 << 20, 0, bounded=False), WINDOW)
    assert read(tail, p0=200) == {0: (0, 200)}
    one.make_anew()
    one.produce([b"y"] * 1000, partition=0)
    with capture_logs() as logs:
        assert read(tail, p0=1000) == {0: (700, 300)}
    assert [log["topic"] for log in logs if log["event"] == "topic_made_anew"] == [one.topic]
    tail.close()
