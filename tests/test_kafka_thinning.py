"""What a trainer takes of a feed that is faster than it: a sample of every partition, in bounded room."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message
from kafka_topics import produce
from streamad_connectors.kafka import tail as tail_module
from streamad_connectors.kafka.source import KafkaOptions, open_tail
from streamad_connectors.kafka.thinning import Thinning, mixed
from structlog.testing import capture_logs

from streamad.ports import SourceContext
from streamad.records.batch import Block
from streamad.state.holdout import held_out

WINDOW = 3000


def sample(places, one_in):
    """Those of these partitions and offsets that are taken."""
    thinning = Thinning(WINDOW)
    thinning.one_in = one_in
    messages = [Message(topic="t", partition=number, offset=at) for number, at in places]
    return [(message.partition(), message.offset()) for message in thinning.take(messages)]


def test_a_sample_is_even_over_partitions_and_offsets_and_holds_all_thinner_ones():
    places = [(number, at) for number in range(16) for at in range(5000)]
    samples = [sample(places, one_in) for one_in in (1, 2, 8, 32)]
    assert samples[0] == places
    for thicker, thinner in pairwise(samples):
        assert {*thinner} < {*thicker}
    eighth = samples[2]
    for counts in (np.bincount([n for n, _ in eighth]), np.bincount([at // 313 for _, at in eighth])):
        assert len(counts) == 16
        assert np.abs(counts - 625).max() < 5 * 625**0.5
    assert sample(places[::-1], 8) == eighth[::-1]


def test_whether_a_record_is_held_out_has_nothing_to_do_with_whether_it_is_taken():
    offsets = np.arange(100_000)
    taken = offsets[mixed(np.zeros_like(offsets), offsets) % np.uint64(16) == 0]
    assert held_out(taken, 1).mean() == pytest.approx(0.1, abs=0.02)


def test_who_falls_back_takes_fewer_and_who_keeps_up_tries_more_and_waits_longer_after_each_failure():
    thinning, tried = Thinning(WINDOW), []
    for look in range(200):
        before = thinning.one_in
        thinning.look(WINDOW + look + 1 if thinning.one_in < 4 else 0)  # the feed is three times too fast
        if thinning.one_in < before:
            tried.append(look)
    assert thinning.one_in in (2, 4)
    assert [later - one for one, later in pairwise(tried)] == [9, 17, 33, 65]


def test_shares_are_remembered_for_a_window_of_records_in_bounded_room():
    thinning = Thinning(WINDOW)
    assert thinning.share == 1.0
    thinning.passed(0, 500)
    thinning.passed(500, 500)
    assert thinning.share == 0.5
    for _ in range(10_000):
        thinning.passed(5, 20)
    assert (thinning.share, len(thinning._pieces)) == (0.25, 101)


@pytest.mark.kafka
def test_a_feed_too_fast_is_sampled_evenly_without_a_jump_and_what_is_ahead_stays_bounded(
    broker, topics, monkeypatch
):
    monkeypatch.setattr(tail_module, "_LOOK_SECONDS", 0.0)
    topic = topics({"records": 3})["records"]
    options = KafkaOptions(type="kafka", brokers=broker.bootstrap, topic=topic)
    tail = open_tail(options, SourceContext(Path(), 1 << 20, 0, bounded=False), WINDOW)
    produce(broker, topic, [b"x"] * 30, partition=0)
    while not isinstance(tail.poll(200, 0.1), Block):
        pass
    taken, behind = [], []
    with capture_logs() as logs:
        for _ in range(40):
            for partition in range(3):
                produce(broker, topic, [b"x"] * 300, partition=partition)
            one_in, got = tail._thinning.one_in, tail.poll(200, 1.0)
            if isinstance(got, Block):
                assert len(got) <= 200
                taken += [
                    (one_in, *map(int, got.position(row).rpartition("/")[2].split("@")))
                    for row in range(len(got))
                ]
            behind.append(sum(tail.figures({}).lag.values()))
    tail.close()
    assert not [log for log in logs if log["event"] == "jumped_forward"]
    assert tail._thinning.one_in >= 4
    parts, offsets = np.array([place[1] for place in taken]), np.array([place[2] for place in taken])
    assert (mixed(parts, offsets) % np.array([place[0] for place in taken], np.uint64) == 0).all()
    late = parts[-1000:]
    assert np.abs(np.bincount(late, minlength=3) - len(late) / 3).max() < 150
    assert tail.figures({}).share < 0.7
