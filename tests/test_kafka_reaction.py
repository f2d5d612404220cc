"""How soon a cluster's scorers follow labels and versions, and a trainer one that is gone."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

import pytest
from confluent_kafka import Producer
from feeds import write_log
from kafka_cluster_help import PARTITIONS, Running
from kafka_topics import each_of, end_offsets
from processes import ask, say, wait_for

pytestmark = pytest.mark.kafka

WINDOW, TURN = 3000, 0.02


@pytest.fixture
def make_cluster(tmp_path, broker, topics):
    made = []

    def make(**changes):
        records = topics({"records": PARTITIONS})["records"]
        made.append(Running(tmp_path, broker, records, **changes))
        return made[-1]

    yield make
    for running in made:
        running.end()


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The first window of them is all normal."""
    return write_log(tmp_path_factory.mktemp("lines"), 2 * WINDOW + 1000)


class Step(NamedTuple):
    """A label was there at this moment, as the last of so many, and moves the records like it up (1) or down (-1)."""

    moment: float
    labels: int
    way: int


class Traffic(threading.Thread):
    """Two records in turns, to each partition 25 times a second both."""

    def __init__(self, running, pair):
        super().__init__(daemon=True)
        self._running, self._pair, self._over = running, pair, threading.Event()

    def run(self):
        producer, number = Producer({"bootstrap.servers": self._running.broker.bootstrap, "linger.ms": 0}), 0
        while not self._over.wait(TURN):
            for partition in range(PARTITIONS):
                producer.produce(self._running.records, self._pair[number % 2], partition=partition)
            producer.poll(0)
            number += 1
        producer.flush()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()


def give(running, record, verdicts, first):
    """Label so many records like this one; returns when the last was there."""
    labels = [
        {
            "event_id": f"{running.feed_name}/{running.records}/0@{first + n}",
            "label": verdict,
            "labeled_at": "2026-01-01T00:00:00Z",
            "record": record,
        }
        for n, verdict in enumerate(verdicts)
    ]
    producer = Producer({"bootstrap.servers": running.broker.bootstrap, "linger.ms": 0})
    for label in labels:
        producer.produce(running.topics["labels"], json.dumps(label))
    producer.flush()
    return time.time()


def by_partition(alerts):
    """For each partition (when it was scored, alert) in the order of their records."""
    groups = {partition: [] for partition in range(PARTITIONS)}
    for alert in alerts:
        partition, _, offset = alert["event_id"].rpartition("/")[2].partition("@")
        groups[int(partition)].append((int(offset), alert))
    return [
        [
            (datetime.fromisoformat(alert["scored_at"]).timestamp(), alert)
            for _, alert in sorted(group, key=itemgetter(0))
        ]
        for group in groups.values()
    ]


def lags(groups, moment, follows):
    """For each partition, how long after `moment` the last record was scored that does not follow it yet."""
    return [
        max([at for at, alert in group if not follows(alert)], default=moment) - moment for group in groups
    ]


def test_labels_move_alike_records_within_a_second_and_a_version_scores_within_two_on_all_scorers(
    make_cluster, lines
):
    cluster = make_cluster(alerts={"budget": 0.99}, training={"every_labels": 6})
    cluster.feed(lines[:WINDOW])
    trainer, *scorers = [cluster.start(name) for name in ("trainer", "a", "b")]
    odd, usual = (
        next(line for line in lines if line.endswith(b",normal.") == normal) for normal in (False, True)
    )
    for name, scorer in zip("ab", scorers, strict=True):
        wait_for(lambda name=name: "model_active" in cluster.said(name), scorer, seconds=240)
    cluster.feed([odd, usual])
    cluster.await_end()
    alerts = cluster.values("alerts")
    records = [
        next(alert["record"] for alert in alerts if is_of(alert["record"], line)) for line in (odd, usual)
    ]
    with Traffic(cluster, (odd, usual)):
        steps = label_one_by_one(cluster, *records)
        wait_for(lambda: '"version": 2, "at_record"' in cluster.said("a"), trainer, seconds=240)
        time.sleep(3)
    cluster.await_end()
    assert_labels_followed(cluster, odd, steps)
    assert_version_followed(cluster)


def label_one_by_one(cluster, like_odd, like_usual):
    """Labels of such records, each some seconds after the one before; then two more, so that a training begins."""
    time.sleep(3)
    steps = []
    for record, verdict, way in (
        (like_usual, "normal", 0),
        (like_odd, "anomaly", 1),
        (like_odd, "anomaly", 1),
        (like_odd, "normal", -1),
    ):
        steps.append(Step(give(cluster, record, [verdict], len(steps)), len(steps) + 1, way))
        time.sleep(3)
    give(cluster, like_usual, ["normal"] * 2, len(steps))
    return steps


def is_of(record, line):
    """Told by service and truth, which no other record has in common with the odd one."""
    _, _, service, *_, label = line.decode().split(",")
    return (record["service"], record["label"]) == (service, label)


def assert_labels_followed(cluster, odd, steps):
    alerts = [alert for alert in cluster.values("alerts") if is_of(alert["record"], odd)]
    groups = by_partition(alerts)
    for step in steps[1:]:
        waits = lags(groups, step.moment, lambda alert, labels=step.labels: alert["labels_applied"] >= labels)
        say(
            f"seconds from a label on, in which records of each partition were scored without it: {shown(waits)}"
        )
        assert max(waits) < 1
        for group in groups:
            before, after = (
                next(alert["anomaly_probability"] for _, alert in group if alert["labels_applied"] == labels)
                for labels in (step.labels - 1, step.labels)
            )
            assert (after - before) * step.way > 0


def assert_version_followed(cluster):
    (moment,) = (
        message.timestamp()[1] / 1000
        for message in each_of(cluster.broker, cluster.topics["control"])
        if message.key() == b"version/000002"
    )
    groups = by_partition(cluster.values("alerts"))
    waits = lags(groups, moment, lambda alert: alert["version"] == 2)
    say(
        f"seconds from a promotion on, in which records of each partition were scored by the version before: {shown(waits)}"
    )
    assert max(waits) < 2


def shown(waits):
    return ", ".join(f"{wait:.2f}" for wait in waits)


# ---- trainers ----------------------------------------------------------------------------------------


def scored(running, name):
    """How many records a trainer has read, as its metrics tell."""
    if (found := re.search(r'"port": (\d+)', running.said(name))) is None:
        return 0
    _, text = ask(int(found[1]), "/metrics")
    number = re.search(r'^streamad_trainer_records_total{outcome="scored"} (.*)$', text, re.MULTILINE)
    return float(number[1]) if number else 0


def test_another_trainer_is_active_soon_after_a_kill_with_its_window_read_again(make_cluster, lines):
    cluster = make_cluster(http={"listen": "127.0.0.1:0"})
    cluster.feed(lines[:WINDOW])
    first = cluster.start("trainer")
    wait_for(lambda: "model_active" in cluster.said("trainer"), first, seconds=240)
    other = cluster.start("trainer-2")
    wait_for(lambda: '"port"' in cluster.said("trainer-2"), other, seconds=240)
    time.sleep(3)
    assert "started" not in cluster.said("trainer-2")
    began = time.monotonic()
    cluster.kill("trainer")
    wait_for(lambda: "started" in cluster.said("trainer-2"), other)
    active = time.monotonic() - began
    wait_for(lambda: scored(cluster, "trainer-2") >= WINDOW, other)
    full = time.monotonic() - began
    say(
        f"another trainer is active {active:.1f} s after a kill, and has its window of {WINDOW:,} after {full:.1f} s"
    )
    assert active < 15
    assert full < 60
    assert '"version": 1, "at_record": 0, "event": "model_active"' in cluster.said("trainer-2")


def test_a_trainer_that_was_frozen_and_replaced_publishes_nothing_when_it_is_woken(make_cluster, lines):
    cluster = make_cluster()
    cluster.feed(lines[:WINDOW])
    frozen = cluster.start("trainer")
    wait_for(lambda: "model_active" in cluster.said("trainer"), frozen, seconds=240)
    other = cluster.start("trainer-2")
    with Traffic(cluster, lines[:2]):  # without records there would be nothing to publish
        time.sleep(8)
        cluster.kill("trainer", signal.SIGSTOP)
        wait_for(lambda: "model_active" in cluster.said("trainer-2"), other, seconds=240)
        cluster.kill("trainer-2", signal.SIGSTOP)  # so that whatever is said now is said by the first
        before = {
            name: end_offsets(cluster.broker, cluster.topics[name])
            for name in ("models", "control", "labels")
        }
        cluster.kill("trainer", signal.SIGCONT)
        time.sleep(5)
        after = {name: end_offsets(cluster.broker, cluster.topics[name]) for name in before}
        cluster.kill("trainer-2", signal.SIGCONT)
    assert after == before
    assert "no longer the active one" in cluster.said("trainer")
