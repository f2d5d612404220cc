"""A whole cluster on a real broker: trainer and scorers as processes of their own, killed and started again."""

from __future__ import annotations

import itertools
import json
import random
import signal
import time

import pytest
from confluent_kafka import Consumer, TopicPartition
from feeds import FEED, write_kafka_config, write_log
from kafka_topics import committed, end_offsets, produce, read_all
from processes import start, wait_for

pytestmark = pytest.mark.kafka

RECORDS, PARTITIONS, JUNK = 9000, 3, 40
TOPICS = ("alerts", "rejected", "candidates", "labels", "models", "control")


class Running:
    """The processes of one cluster, by name."""

    def __init__(self, folder, broker, records, names):
        self.folder, self.broker, self.records = folder, broker, records
        self.topics = names
        self._processes = {}
        self.config = write_kafka_config(
            folder,
            {"brokers": broker.bootstrap, "topic": records, "group": f"group-{records}"},
            state={"type": "kafka", "topics": names, "create_topics": True},
            training={"warm_up": {"records": 2000}, "window": {"records": 3000}, "every_records": None},
            limits={"batch_records": 512, "commit_batches": 1},
        )

    def start(self, name):
        command = (
            ["trainer", self.config]
            if name == "trainer"
            else ["run", self.config, "--set", f"state.transactional_id={self.records}-{name}"]
        )
        self._processes[name] = start(*command, log=self.folder / f"{name}.log")
        return self._processes[name]

    def kill(self, name, number=signal.SIGKILL):
        self._processes[name].send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._processes[name].wait(30)

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def await_end(self, seconds=120):
        """Wait until the group has committed all there is."""
        deadline, ends = time.monotonic() + seconds, end_offsets(self.broker, self.records)
        while (found := committed(self.broker, f"group-{self.records}", self.records)) != ends:
            assert time.monotonic() < deadline, (found, ends)
            time.sleep(0.2)

    def values(self, what):
        return [json.loads(record.value) for record in read_all(self.broker, self.topics[what])]


@pytest.fixture
def cluster(tmp_path, broker, topics):
    names = topics({"records": PARTITIONS})
    running = Running(
        tmp_path, broker, names["records"], {what: f"{names['records']}.{what}" for what in TOPICS}
    )
    yield running
    for name in list(running._processes):
        if running._processes[name].poll() is None:
            running.kill(name)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("lines"), RECORDS, junk=JUNK)


def feed(cluster, lines):
    for partition in range(PARTITIONS):
        produce(cluster.broker, cluster.records, lines[partition::PARTITIONS], partition=partition)


def events(lines, topic):
    """The event id of each line, once `feed` has produced them all."""
    return {
        f"{FEED}/{topic}/{number % PARTITIONS}@{number // PARTITIONS}": line
        for number, line in enumerate(lines)
    }


def test_scorers_that_are_killed_lose_nothing_and_say_nothing_twice(cluster, lines):
    feed(cluster, lines[:3000])
    cluster.start("trainer")
    for name in ("a", "b"):
        cluster.start(name)
    wait_for(lambda: "model_active" in cluster.said("a"), cluster._processes["a"], seconds=120)
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
    every = events(lines, cluster.records)
    assert sorted(rejected) == sorted(
        event.removeprefix(f"{FEED}/") for event in list(every)[JUNK - 1 :: JUNK]
    )
    assert len(alerts) == len(set(alerts)) > 0
    assert set(alerts) <= set(every)


def test_a_scorer_that_comes_late_scores_as_the_one_that_was_there_and_labels_move_what_is_alike(
    cluster, lines
):
    feed(cluster, lines[:3000])
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
    feed(cluster, lines[3000:6000])
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
        assert alert | {"scored_at": None} == before | {"scored_at": None}


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


def test_when_the_trainer_is_killed_the_one_that_stood_by_goes_on(cluster, lines):
    feed(cluster, lines[:3000])
    cluster.start("trainer")
    wait_for(lambda: "model_active" in cluster.said("trainer"), cluster._processes["trainer"], seconds=120)
    killed = cluster._processes["trainer"]
    other = start("trainer", cluster.config, log=cluster.folder / "other.log")
    cluster._processes["other"] = other
    time.sleep(3)
    assert "started" not in cluster.said("other")
    began = time.monotonic()
    killed.kill()
    wait_for(lambda: "started" in cluster.said("other"), other, seconds=60)
    assert time.monotonic() - began < 20
    wait_for(lambda: "model_active" in cluster.said("other"), other, seconds=60)
    assert '"version": 1' in cluster.said("other")
