"""A whole cluster on a real broker: trainer and scorers as processes of their own, killed and started again."""

from __future__ import annotations

import itertools
import json
import random
import re
import signal
import time

import pytest
from confluent_kafka import Consumer, TopicPartition
from feeds import write_log
from kafka_cluster_help import PARTITIONS, Running
from kafka_topics import produce, read_all
from processes import wait_for

pytestmark = pytest.mark.kafka

RECORDS, JUNK = 9000, 40


@pytest.fixture
def cluster(tmp_path, broker, topics):
    running = Running(tmp_path, broker, topics({"records": PARTITIONS})["records"])
    yield running
    running.end()


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("lines"), RECORDS, junk=JUNK)


def test_scorers_that_are_killed_lose_nothing_and_say_nothing_twice(cluster, lines):
    cluster.feed(lines[:3000])
    cluster.start("trainer")
    for name in ("a", "b"):
        cluster.start(name)
    wait_for(lambda: "model_active" in cluster.said("a"), cluster.processes["a"], seconds=120)
    rng = random.Random(1)
    for round_, start_ in enumerate(range(3000, RECORDS, 1000)):
        for partition in range(PARTITIONS):
            part = [
                line
                for n, line in enumerate(lines[start_ : start_ + 1000], start_)
                if n % PARTITIONS == partition
            ]
            produce(cluster.broker, cluster.records, part, partition=partition)
        time.sleep(rng.uniform(0.1, 1.0))
        name = "ab"[round_ % 2]
        cluster.kill(name)
        cluster.start(name)
    cluster.await_end()
    alerts = [alert["event_id"] for alert in cluster.values("alerts")]
    rejected = [
        dict(record.headers)["position"].decode()
        for record in read_all(cluster.broker, cluster.topics["rejected"])
    ]
    every = cluster.events(lines)
    assert sorted(rejected) == sorted(event.partition("/")[2] for event in list(every)[JUNK - 1 :: JUNK])
    assert len(alerts) == len(set(alerts)) > 0
    assert set(alerts) <= set(every)


def test_a_trainer_that_finds_nothing_but_junk_waits_for_good_records_and_learns_from_these(cluster, lines):
    produce(cluster.broker, cluster.records, [b"junk"] * 14_000, partition=0)
    trainer = cluster.start("trainer")
    wait_for(lambda: "waits_for_good_records" in cluster.said("trainer"), trainer, seconds=60)
    (told,) = [json.loads(line) for line in cluster.said("trainer").splitlines() if "waits_for_good" in line]
    assert re.fullmatch(
        r"([\d,]+) of the last \1 records are no good, and the first model waits for others; the last, "
        rf"{cluster.records}/0@\d+: too_few_fields",
        told["why"],
    )
    produce(cluster.broker, cluster.records, lines[:3000], partition=1)
    wait_for(lambda: cluster.values("control"), trainer, seconds=60)
    assert trainer.poll() is None
    assert cluster.said("trainer").count("waits_for_good_records") == 1


def test_a_scorer_that_comes_late_scores_as_the_one_that_was_there_and_labels_move_what_is_alike(
    cluster, lines
):
    cluster.feed(lines[:3000])
    cluster.start("trainer")
    cluster.start("a")
    cluster.await_end()
    cluster.kill("trainer", signal.SIGTERM)  # no new references: what scores is the same from here on
    attacks = [
        alert for alert in cluster.values("alerts") if not alert["record"]["label"].startswith("normal")
    ]
    labels = [
        {
            "event_id": alert["event_id"],
            "label": verdict,
            "labeled_at": "2026-01-01T00:00:00Z",
            "record": alert["record"],
        }
        for alert, verdict in itertools.product(attacks[:4], ("normal", "anomaly"))
    ]
    produce(cluster.broker, cluster.topics["labels"], [json.dumps(label).encode() for label in labels])
    cluster.feed(lines[3000:6000])
    cluster.await_end()
    first = {alert["event_id"]: alert for alert in cluster.values("alerts")}
    assert {alert["labels_applied"] for alert in first.values()} >= {len(labels)}
    cluster.kill("a", signal.SIGTERM)
    rewind(cluster)
    cluster.start("late")
    cluster.await_end()
    again = cluster.values("alerts")[len(first) :]
    compared = [
        alert for alert in again if first.get(alert["event_id"], {}).get("labels_applied") == len(labels)
    ]
    assert compared
    for alert in compared:
        before = first[alert["event_id"]]
        # what a burst began with is what this scorer met since it started
        own = {"scored_at": None, "repeat_of": None}
        assert alert | own == before | own


def rewind(cluster):
    """The group goes back to where the second half of the records begins."""
    consumer = Consumer(
        {"bootstrap.servers": cluster.broker.bootstrap, "group.id": f"group-{cluster.records}"}
    )
    consumer.commit(
        offsets=[TopicPartition(cluster.records, number, 1000) for number in range(PARTITIONS)],
        asynchronous=False,
    )
    consumer.close()
