"""Records that go into a cluster at a steady pace, alerts that become visible, and labels that people give to these."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import deque
from functools import partial
from itertools import islice

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition
from conftest import DATA
from kafka_topics import end_offsets

POISON_EVERY, TOGETHER = 1000, 50
LABEL_SECONDS, LABELS = 4.0, 4
"""So many are given every so many seconds."""


def lines_of(first, count):
    """KDD records from `first` on."""
    with gzip.open(DATA / "kddcup99" / "kddcup.data_10_percent.gz") as file:
        lines = [line.rstrip(b"\n") for line in islice(file, first, first + count)]
    assert len(lines) == count, "there are not so many records"
    return lines


def mixed(lines, rng):
    """In another order, as else all alerts would come in a few floods; every so manieth one is spoilt, and says which one
    it is."""
    rng.shuffle(lines)
    places = range(POISON_EVERY - 1, len(lines), POISON_EVERY)
    lines[POISON_EVERY - 1 :: POISON_EVERY] = [b"poison %d" % number for number in places]
    return lines


class Feed:
    """A topic that is written; where each line went, and when the broker had it."""

    def __init__(self, broker, topic, partitions):
        self.topic, self._partitions = topic, partitions
        self._producer = Producer(
            {
                "bootstrap.servers": broker.bootstrap,
                "queue.buffering.max.messages": 1_000_000,
                "enable.idempotence": True,
                "reconnect.backoff.max.ms": 500,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self.sent = {}
        """Position -> line."""
        self.appended = {}
        """Position -> seconds since the epoch."""

    def send(self, lines, rate=None, ahead=lambda _number: False):
        """All at once, or so many a second, and a tenth of that while it is `ahead` of what is done meanwhile. Returns
        when the broker has them."""
        before, due = len(self.sent), time.monotonic()
        for number, line in enumerate(lines):
            self._producer.produce(
                self.topic,
                line,
                partition=number % self._partitions,
                on_delivery=partial(self._delivered, line),
            )
            if rate and number % TOGETHER == 0:
                due = max(due + TOGETHER / rate * (10 if ahead(number) else 1), time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))
            self._producer.poll(0)
        self._producer.flush()
        assert len(self.sent) == before + len(lines), "not everything was stored"

    def _delivered(self, line, error, message):
        assert error is None, error
        kind, stamp = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        position = f"{self.topic}/{message.partition()}@{message.offset()}"
        self.sent[position], self.appended[position] = line, stamp / 1000


class Watch(threading.Thread):
    """A read_committed reader of alerts that notes when it saw each for the first time."""

    def __init__(self, broker, topic):
        super().__init__(daemon=True)
        self._broker, self._topic, self._over = broker, topic, threading.Event()
        self.seen, self.written = {}, {}
        """Event -> seconds since the epoch when it was visible, and when its scorer handed it over."""
        self.latest = deque(maxlen=500)

    def run(self):
        consumer = Consumer(
            {
                "bootstrap.servers": self._broker.bootstrap,
                "group.id": "unused",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "fetch.error.backoff.ms": 100,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        places = end_offsets(self._broker, self._topic)
        consumer.assign([TopicPartition(self._topic, number, 0) for number in places])
        while not self._over.is_set():
            for message in consumer.consume(1000, 0.02):
                if message.error() is None:  # a broker that is away comes back
                    self.seen.setdefault(message.key().decode(), time.time())
                    self.written.setdefault(message.key().decode(), message.timestamp()[1] / 1000)
                    self.latest.append(message.value())
        consumer.close()

    def end(self):
        self._over.set()
        self.join()


class Analyst(threading.Thread):
    """Says of recent alerts what their truth is; every other label leaves the record to the trainer."""

    def __init__(self, broker, topic, watch):
        super().__init__(daemon=True)
        self._producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        self._topic, self._watch, self._over = topic, watch, threading.Event()
        self.given = {}

    def run(self):
        while not self._over.wait(LABEL_SECONDS):
            alerts = [json.loads(value) for value in list(self._watch.latest)]
            new = {alert["event_id"]: alert for alert in alerts if alert["event_id"] not in self.given}
            for event in list(new)[:: max(1, len(new) // LABELS)][:LABELS]:
                self._give(event, new[event]["record"])
            self._producer.flush()

    def _give(self, event, record):
        verdict = "normal" if record["label"] == "normal." else "anomaly"
        label = {"event_id": event, "label": verdict, "labeled_at": "2026-01-01T00:00:00Z"}
        if len(self.given) % 2:
            label["record"] = record
        self._producer.produce(self._topic, json.dumps(label))
        self.given[event] = verdict

    def end(self):
        self._over.set()
        self.join()
