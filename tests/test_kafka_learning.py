"""What is learned in a cluster: three scorers that have it from the topics alone, one of them killed on the way."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from commands_help import Commands
from feeds import write_log
from kafka_cluster_help import PARTITIONS, Running
from processes import wait_for

from streamad.records.kdd import KDD_FIELDS

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SCORERS = ("a", "b", "c")
FIRST, STEADY, MOVED, PIECE = 4000, 14_000, 6000, 1000
BUDGET = 0.02
MOVED_FIELD = "dst_host_count"


@pytest.fixture
def cluster(tmp_path, broker, topics):
    running = Running(
        tmp_path,
        broker,
        topics({"records": PARTITIONS})["records"],
        alerts={"budget": BUDGET},
        detector={"members": 1, "min_steps": 30},
        training={"every_labels": 20, "drift": {"records": 400, "retrain": False}},
    )
    for name in ("trainer", *SCORERS):
        running.start(name)
    yield running
    running.end()


def told(cluster, name, event):
    """What a process has said of one kind of event."""
    lines = (json.loads(line) for line in cluster.said(name).splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == event]


def version(cluster, name):
    """The one that a process scores with, 0 before the first."""
    return told(cluster, name, "model_active")[-1]["version"] if told(cluster, name, "model_active") else 0


def all_at(cluster, number, names=("trainer", *SCORERS)):
    for name in names:
        wait_for(lambda name=name: version(cluster, name) == number, cluster.processes[name], seconds=120)


def moved(line):
    """A record whose field is far from what it was."""
    values = line.split(b",")
    values[KDD_FIELDS.index(MOVED_FIELD)] = b"1000"
    return b",".join(values)


def test_three_scorers_learn_take_over_and_go_back_as_the_trainer_says_though_one_was_killed(
    cluster, tmp_path, capsys, monkeypatch
):
    (tmp_path / "net.yaml").write_text(cluster.config.read_text())
    command = Commands(tmp_path, capsys, monkeypatch)
    lines = write_log(tmp_path, FIRST + STEADY + MOVED, share=0.0)

    def feed(some):
        for start in range(0, len(some), PIECE):  # the trainer is to see them all
            cluster.feed(some[start : start + PIECE])
            cluster.await_end()

    cluster.feed(lines[:FIRST])
    all_at(cluster, 1)
    feed(lines[FIRST : FIRST + STEADY])
    alerts = cluster.values("alerts")
    by_partition = Counter(alert["event_id"].partition("@")[0][-1] for alert in alerts)
    for alerted in by_partition.values():
        assert 0.3 < alerted / (BUDGET * (FIRST + STEADY) / PARTITIONS) < 3
    asked = command.rows("queue", "--limit", "10")
    assert asked == command.rows("queue", "--limit", "10")

    cluster.kill("c")
    for alert in alerts[-20:]:
        command("label", alert["event_id"], "normal")
    alive = ("trainer", "a", "b")
    all_at(cluster, 2, alive)
    cluster.start("c")
    all_at(cluster, 2, ("c",))
    command("models", "rollback")
    all_at(cluster, 1)

    def drifted():
        return MOVED_FIELD in {drift["field"] for drift in told(cluster, "trainer", "drift")}

    assert not drifted()
    feed([moved(line) for line in lines[FIRST + STEADY :]])
    wait_for(drifted, cluster.processes["trainer"], seconds=60)
