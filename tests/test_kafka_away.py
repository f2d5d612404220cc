"""A broker that goes away for longer than any session, and comes back: everybody waits, says so once, and goes on."""

from __future__ import annotations

import json
import time

import pytest
from feeds import FEED, write_kafka_config, write_log
from kafka_broker import Broker
from kafka_topics import committed, end_offsets, make_topics, produce, read_all
from processes import say, start, stop, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS, FIRST, SECOND = 2, 3000, 2000
AWAY = 25
"""Seconds: longer than the sessions of scorer (10 s) and trainer (8 s), and than a transaction (10 s)."""


def said(log, event):
    """The lines of a process that tell of an event."""
    found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


@pytest.fixture
def mine(tmp_path):
    with Broker(tmp_path / "broker") as broker:
        yield broker


def feed(broker, topic, lines):
    for partition in range(PARTITIONS):
        produce(broker, topic, lines[partition::PARTITIONS], partition=partition)


def test_scorer_and_trainer_wait_for_a_broker_that_was_away_say_so_once_and_go_on(tmp_path, mine):
    lines = write_log(tmp_path, FIRST + SECOND)
    topic = make_topics(mine, {"records": PARTITIONS})["records"]
    config = write_kafka_config(
        tmp_path,
        {"brokers": mine.bootstrap, "topic": topic, "group": topic},
        state={"type": "kafka", "create_topics": True, "transactional_id": topic},
        training={
            "warm_up": {"records": 2000},
            "window": {"records": 3000},
            "every_records": 1500,
        },
        limits={"batch_records": 512, "commit_batches": 1},
    )
    logs = {name: tmp_path / f"{name}.log" for name in ("trainer", "scorer")}
    processes = {
        "trainer": start("trainer", config, log=logs["trainer"]),
        "scorer": start("run", config, log=logs["scorer"]),
    }

    def all_committed():
        return committed(mine, topic, topic) == end_offsets(mine, topic)

    feed(mine, topic, lines[:FIRST])
    wait_for(lambda: said(logs["scorer"], "model_active"), processes["scorer"], seconds=180)
    wait_for(all_committed, processes["scorer"])
    mine.stop()
    time.sleep(AWAY)
    assert {name: process.poll() for name, process in processes.items()} == dict.fromkeys(processes)
    mine.start()
    began = time.monotonic()
    feed(mine, topic, lines[FIRST:])
    wait_for(all_committed, processes["scorer"])
    say(f"the scorer has read all {time.monotonic() - began:.1f} s after the broker answered again")
    for name, process in processes.items():
        wait_for(lambda log=logs[name]: said(log, "model_active")[-1]["version"] > 1, process, seconds=120)
    for name, process in processes.items():
        assert len(said(logs[name], "kafka_away_waiting")) == 1, name
        assert len(said(logs[name], "kafka_answers_again")) == 1, name
        assert stop(process, 15)[0] == 0
    events = [json.loads(record.value)["event_id"] for record in read_all(mine, f"{FEED}.alerts")]
    assert len(events) == len(set(events)) > 0
