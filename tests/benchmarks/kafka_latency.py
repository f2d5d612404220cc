"""How long after a record was sent its alert can be read, with a scorer that delivers exactly once, and a plain loop.

    python tests/benchmarks/kafka_latency.py [SECONDS]

Ordinary records of KDDCUP99 as JSON of about 800 bytes, in six partitions, are sent for so many seconds at 50,000 a
second, one in a hundred or so being an alert; then for three times as long at one a second, all of them alerts. What is
timed is from the call that sends a record to the call that gives its alert to a reader of committed messages. The scorer
has five VAEs. The plain loop does what any program with transactions must: it takes what comes for 50 ms, writes
something of each hundredth record (of each one where they are few), and commits ten times a second. Broker and loop are warmed up at 50,000 a second.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from confluent_kafka import Consumer, Producer, TopicPartition
from kafka_broker import Broker
from kafka_speed import DETECTORS, PARTITIONS, config_of, fill, payloads, train
from kafka_topics import end_offsets, make_topics
from processes import say, start, wait_for
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings

MANY = 50_000
_WARM_SECONDS = 10
SLICE = 200
POLL, COMMIT = 0.05, 0.1


def usual(count):
    """Payloads of ordinary records."""
    return [value for value in payloads(200_000) if b'"normal' in value][:count]


def send(bootstrap, topic, rate, seconds, folder):
    """Send the lines of a file at a rate; writes when each record of each partition was sent, `[partition, n]`."""
    values = (folder / "values").read_bytes().splitlines()
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 1_000_000})
    chance, sent, step = random.Random(1), [[] for _ in range(PARTITIONS)], SLICE if rate > SLICE else 1
    began = due = time.monotonic()
    for first in range(0, rate * seconds, step):
        due += step / rate * (1 if step > 1 else chance.uniform(0.5, 1.5))
        time.sleep(max(0.0, due - time.monotonic()))
        for number in range(first, first + step):
            sent[number % PARTITIONS].append(time.monotonic())
            producer.produce(topic, values[number % len(values)], partition=number % PARTITIONS)
        producer.poll(0)
    producer.flush()
    say(json.dumps({"sent a second": round(rate * seconds / (time.monotonic() - began), 1)}))
    np.save(folder / "sent.npy", np.array([times[: rate * seconds // PARTITIONS] for times in sent]))


class Reader(threading.Thread):
    """Reads a topic's committed messages from now on.

    `seen` is (partition, offset) of each alert's record -> when it came, `alert` one of them.
    """

    def __init__(self, broker, topic):
        super().__init__(daemon=True)
        self.seen, self.alert, self.stopping = {}, None, False
        self.consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap,
                "group.id": str(uuid.uuid4()),
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "fetch.queue.backoff.ms": 2,
            }
        )
        ends = end_offsets(broker, topic)
        self.consumer.assign([TopicPartition(topic, number, end) for number, end in ends.items()])
        self.start()

    def run(self):
        while not self.stopping:
            messages = self.consumer.consume(1000, 0.002)
            now = time.monotonic()
            for message in messages:
                if message.error() is None:
                    self.seen.setdefault(_place(message.key().decode()), now)
                    self.alert = message.value()
        self.consumer.close()

    def close(self):
        self.stopping = True
        self.join()

    def took(self, first, sent):
        """Milliseconds that each alert took whose record, counted from `first`, was sent at `sent[partition, n]`."""
        come = [(number, offset - first[number], at) for (number, offset), at in self.seen.copy().items()]
        return [1000 * (at - sent[number, n]) for number, n, at in come if 0 <= n < sent.shape[1]]


def _place(key):
    """Partition and offset out of an event id."""
    partition, _, offset = key.rpartition("/")[2].partition("@")
    return int(partition), int(offset)


def plain(bootstrap, topic, output, every):
    """The peer; its settings are the scorer's."""
    client, group = KafkaClient(brokers=bootstrap), str(uuid.uuid4())
    settings = consumer_settings(client, Path()) | {"group.id": group, "auto.offset.reset": "latest"}
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": group})
    producer.init_transactions()
    last, offsets, keys = 0.0, {}, []
    while True:
        for message in consumer.consume(8192, POLL):
            offsets[message.partition()] = message.offset() + 1
            if message.offset() % every == 0:
                keys.append(f"{message.partition()}@{message.offset()}")
        if offsets and time.monotonic() - last >= COMMIT:
            last = time.monotonic()
            producer.begin_transaction()
            for key in keys:
                producer.produce(output, b"{}", key)
            moved = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
            producer.send_offsets_to_transaction(moved, consumer.consumer_group_metadata())
            producer.commit_transaction()
            offsets, keys = {}, []


def measure(broker, topic, output, rate, seconds, values):
    """Milliseconds from sent to readable: p50, p99, the worst, of how many; and an alert."""
    first, reader = end_offsets(broker, topic), Reader(broker, output)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "values").write_bytes(b"\n".join(values))
        run = [sys.executable, __file__, "send", broker.bootstrap, topic, str(rate), str(seconds), name]
        subprocess.run(run, check=True)
        sent = np.load(Path(name) / "sent.npy")
    expected, deadline = sent.size // 500 if rate > 1 else sent.size, time.monotonic() + 60
    came = -1
    while len(took := reader.took(first, sent)) < expected or len(took) > came:
        assert time.monotonic() < deadline, f"{len(took)} of {expected} alerts came"
        came = len(took)
        time.sleep(1)
    reader.close()
    p50, p99, worst = np.percentile(took, [50, 99, 100])
    return {"p50": round(p50), "p99": round(p99), "worst": round(worst), "alerts": len(took)}, reader.alert


def warm(broker, topic, output, process, values):
    """Until what is sent comes out at the other end."""
    producer, reader = Producer({"bootstrap.servers": broker.bootstrap}), Reader(broker, output)

    def comes():
        for number, value in enumerate(values[:2000]):
            producer.produce(topic, value, partition=number % PARTITIONS)
        producer.flush()
        time.sleep(1)
        return reader.seen

    wait_for(comes, process, seconds=120)
    reader.close()
    measure(broker, topic, output, MANY, _WARM_SECONDS, values)


def report(name, broker, topic, output, rate, seconds, values):
    """Returns an alert."""
    found, alert = measure(broker, topic, output, rate, seconds, values)
    load = round(os.getloadavg()[0], 1)
    say(json.dumps({"loop": name, "records a second": rate, "ms": found, "load average": load}))
    return alert


def scorer(folder, broker, topic, seconds, values):
    """Returns the payload of a record that is an alert."""
    config = config_of(
        folder, broker, topic, "five-VAEs", DETECTORS["five VAEs"], "exactly_once", budget=0.01
    )
    train(config, folder, "five-VAEs")
    output = "five-VAEs-exactly_once-alerts"
    process = start("run", config, log=folder / "scorer.log")
    try:
        warm(broker, topic, output, process, values)
        alert = report("scorer", broker, topic, output, MANY, seconds, values)
        odd = json.dumps(json.loads(alert)["record"]).encode()
        report("scorer", broker, topic, output, 1, 3 * seconds, [odd])
    finally:
        process.terminate()
        process.wait(30)


def peer(broker, topic, output, rate, seconds, values):
    every = 100 if rate > 1 else 1
    run = [sys.executable, __file__, "plain", broker.bootstrap, topic, output, str(every)]
    process = subprocess.Popen(run)
    try:
        warm(broker, topic, output, process, values)
        report("plain loop", broker, topic, output, rate, seconds, values)
    finally:
        process.kill()
        process.wait()


def main(seconds):
    with tempfile.TemporaryDirectory() as name, Broker(Path(name) / "broker", heap_mb=512) as broker:
        names = make_topics(broker, {"records": PARTITIONS, "plain": 1})
        topic, values = names["records"], usual(50_000)
        fill(broker, topic, values[:20_000])
        scorer(Path(name), broker, topic, seconds, values)
        for rate, times in ((MANY, 1), (1, 3)):
            peer(broker, topic, names["plain"], rate, times * seconds, values)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send", bootstrap, topic, rate, seconds, path]:
            send(bootstrap, topic, int(rate), int(seconds), Path(path))
        case ["plain", bootstrap, topic, output, every]:
            plain(bootstrap, topic, output, int(every))
        case rest:
            main(int(rest[0]) if rest else 30)
