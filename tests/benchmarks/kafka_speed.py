"""How many records a second one scorer of a cluster takes from Kafka, beside a bare loop of the same stages.

    python tests/benchmarks/kafka_speed.py [RECORDS]

The broker is on one core and the scorer on the other; records are KDDCUP99's as JSON of about 800 bytes in six
partitions. The bare loop consumes, decodes, encodes and scores, and keeps nothing. For each of two detectors, five
VAEs and one MLP: the bare loop, a scorer that delivers exactly once, and one that delivers at least once. Beside the
records a second of time there are those a second of processor time, all threads together, which other work on the
machine hardly changes: what a core of its own would do.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from confluent_kafka import Consumer, Producer, TopicPartition
from conftest import DATA
from feeds import write_kafka_config
from kafka_broker import Broker
from kafka_topics import end_offsets, make_topics
from processes import say, start, wait_for
from streamad_connectors.kafka.payloads import Beside, block_of
from streamad_connectors.kafka.settings import KafkaClient, consumer_settings

from streamad.config import load_config
from streamad.job import Job
from streamad.models.scoring_model import ScoringModel
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.records.kdd import KDD_CATEGORICAL, KDD_FIELDS
from streamad.records.schema import PayloadFormat
from streamad.runtime.garbage import searched_rarely
from streamad.runtime.published import Published
from streamad.wiring.cluster import member

PARTITIONS, BATCH = 6, 8192
DETECTORS = {"five VAEs": {"name": "dp_vae", "members": 5}, "one MLP": {"name": "deep_svdd", "members": 1}}
OUTPUTS = ("alerts", "rejected", "candidates")
SHARED = ("labels", "models", "control")


def payloads(count):
    """Records as JSON, those of the file again and again, in another order: its floods would teach that all else is odd."""
    texts = set(KDD_CATEGORICAL) | {"label"}
    with gzip.open(DATA / "kddcup99" / "kddcup.data_10_percent.gz", "rt") as file:
        lines = list(islice(file, min(count, 200_000)))
    random.Random(1).shuffle(lines)
    values = [_as_json(line.rstrip(".\n").split(","), texts) for line in lines]
    return [values[number % len(values)] for number in range(count)]


def _as_json(values, texts):
    named = zip(KDD_FIELDS, values, strict=True)
    return json.dumps({name: text if name in texts else json.loads(text) for name, text in named}).encode()


def fill(broker, topic, values, partitions=PARTITIONS):
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap, "queue.buffering.max.messages": 500_000, "linger.ms": 20}
    )
    for number, value in enumerate(values):
        while True:
            try:
                producer.produce(topic, value, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def config_of(folder, broker, topic, name, detector, delivery, budget=0.001):
    """The config of scorers that have their own outputs, and share a model with the others of their detector."""
    folder = folder / f"{name}-{delivery}"
    folder.mkdir()
    names = {what: f"{name}-{what}" for what in SHARED} | {
        what: f"{name}-{delivery}-{what}" for what in OUTPUTS
    }
    return write_kafka_config(
        folder,
        {"brokers": broker.bootstrap, "topic": topic, "group": f"{name}-{delivery}", "format": "ndjson"},
        state={"type": "kafka", "topics": names, "create_topics": True, "delivery": delivery},
        detector=detector | {"hidden": [32, 16], "latent": 8, "epochs": 3, "threads": 1, "head": False},
        alerts={"budget": budget},
        training={"warm_up": {"records": 10_000}, "window": {"records": 20_000}, "every_records": None},
        limits={"batch_records": BATCH, "commit_batches": 1},
    )


def train(config, folder, name):
    log = folder / f"{name}.log"
    trainer = start("trainer", config, log=log)
    wait_for(lambda: "model_active" in log.read_text(), trainer, seconds=300)
    trainer.terminate()
    trainer.wait(30)


def bare(config, broker, topic, count):
    """Records a second of time, and of processor time, on the core that this process is on."""
    job = Job("run", config)
    opened, loaded = member(job), load_config(config)
    source, sink, updates = opened.plugin.open_scorer(opened.state, opened.source, opened.context)
    with tempfile.TemporaryDirectory() as folder:
        artifact = Published(updates, Path(folder), loaded.feed, loaded.schema_).news().promoted
    for one in (source, sink, updates):
        one.close()
    model = ScoringModel.from_parts(*artifact, "cpu", 1)
    dictionary = Dictionary(loaded.schema_.categories)
    decoder = Decoder(loaded.schema_, PayloadFormat(format="ndjson"), dictionary)
    decoder.warm_up()
    settings = consumer_settings(KafkaClient(brokers=broker.bootstrap), Path())
    consumer = Consumer(settings | {"group.id": "bare", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    done, began, used = 0, 0.0, 0.0
    with searched_rarely():
        while done < count:
            messages = consumer.consume(BATCH, 0.05)
            if not messages:
                continue
            batch = decoder.decode(block_of(topic, messages, {}, 1 << 20, Beside()), done)
            values = [dictionary.values(field) for field in range(len(loaded.schema_.categories))]
            model.score(model.encoder.bind(values).encode(batch.numbers, batch.codes))
            if not done:
                began, used, first = time.perf_counter(), time.process_time(), len(batch)
            done += len(batch)
    took, used = time.perf_counter() - began, time.process_time() - used
    consumer.close()
    return (done - first) / took, (done - first) / used


def used_by(process):
    """Processor seconds of all its threads so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def scorer(config, broker, topic, name, folder, look=lambda _process: None):
    """Records a second of time, and of processor time, from the first commit that is seen to the last.

    `look` is called with the process all along.
    """
    log = folder / f"{name}.log"
    process = start("run", config, log=log)
    os.sched_setaffinity(process.pid, {1})
    ends = sum(end_offsets(broker, topic).values())
    looking = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": name})
    places = [TopicPartition(topic, number) for number in end_offsets(broker, topic)]
    seen = []
    while not seen or seen[-1][-1] < ends:
        time.sleep(0.1)
        assert process.poll() is None, log.read_text()
        look(process)
        at = sum(max(place.offset, 0) for place in looking.committed(places, 10))
        if at and (not seen or at > seen[-1][-1]):
            seen.append((time.perf_counter(), used_by(process), at))
    looking.close()
    process.terminate()
    process.wait(30)
    first, last = seen[0], seen[-1]
    done = last[-1] - first[-1]
    return done / max(last[0] - first[0], 1e-9), done / max(last[1] - first[1], 1e-9)


def main(count):
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, Broker(Path(name) / "broker", heap_mb=512, cpu=0) as broker:
        folder = Path(name)
        topic = make_topics(broker, {"records": PARTITIONS})["records"]
        fill(broker, topic, payloads(count))
        for detector, options in DETECTORS.items():
            short = detector.replace(" ", "-")
            configs = {
                delivery: config_of(folder, broker, topic, short, options, delivery)
                for delivery in ("exactly_once", "at_least_once")
            }
            train(configs["exactly_once"], folder, short)
            os.sched_setaffinity(0, {1})
            found = {"bare loop": bare(configs["exactly_once"], broker, topic, count)}
            os.sched_setaffinity(0, {0, 1})
            for delivery, config in configs.items():
                found[delivery] = scorer(config, broker, topic, f"{short}-{delivery}", folder)
            for number, kind in enumerate(("a second", "a processor second")):
                rates = {name: round(rate[number]) for name, rate in found.items()}
                ratio = round(rates["exactly_once"] / rates["bare loop"], 3)
                load = round(os.getloadavg()[0], 1)
                told = {"detector": detector, "records": kind, **rates, "ratio": ratio, "load average": load}
                say(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600_000)
