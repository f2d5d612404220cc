"""Kills scorers of a cluster again and again, and compares what they said with what an undisturbed one says.

    make chaos                       300,000 KDDCUP99 records, 3 scorers, 20 kills
    python tests/kafka_chaos.py --records 60000 --kills 6 --seconds 60

A kill (SIGKILL) lands at a step of a commit, with lag and, from ``sink.ready`` on, with an open transaction. Needs
the real records (STREAMAD_DATA) and what tests/kafka_broker.py needs for a broker of its own.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path

from confluent_kafka import Producer
from conftest import DATA
from feeds import write_kafka_config
from kafka_broker import Broker
from kafka_topics import committed, end_offsets, make_topics, read_all
from processes import say, start, wait_for

PARTITIONS, WARM_UP, EVERY = 6, 20_000, 1000
STEPS = ("sink.ready", "sink.written", "sink.sent")
OUTPUTS = ("alerts", "rejected", "candidates")
SHARED = ("labels", "models", "control")


class Scorers:
    """Scorers under a supervisor that starts each again at once, to die at another step."""

    def __init__(self, folder, config, names, rng):
        self._folder, self._config, self._rng = folder, config, rng
        self.steps = {}
        self.processes = {name: self._start(name) for name in names}

    def _start(self, name):
        self.steps[name] = self._rng.choice(STEPS)
        command = [
            sys.executable,
            Path(__file__).with_name("kafka_scorer.py"),
            self._config,
            name,
            self.steps[name],
        ]
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stderr=log)

    def kill(self, name, seconds=20.0):
        """Whether it died at its step in time; it is started again."""
        process = self.processes[name]
        process.send_signal(10)  # SIGUSR1
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        died = process.poll() is not None
        if died:
            self.processes[name] = self._start(name)
        return died

    def end(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(30)


def lines_of(count):
    """KDD records, every so manieth one spoilt."""
    path = DATA / "kddcup99" / "kddcup.data_10_percent.gz"
    with gzip.open(path) as file:
        lines = [line.rstrip(b"\n") for line in islice(file, count)]
    lines[EVERY - 1 :: EVERY] = poison(count)
    return lines


def poison(count):
    """What is in the place of every so manieth record: each says which one it is."""
    return [b"poison %d" % number for number in range(EVERY - 1, count, EVERY)]


def feed(producer, topic, lines, first, rate):
    """Produce at so many records a second."""
    began = time.monotonic()
    for number, line in enumerate(lines):
        producer.produce(topic, line, partition=(first + number) % PARTITIONS)
        producer.poll(0)
        if number % 500 == 0:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
    producer.flush()


def config_of(folder, name, broker, topics, own):
    """The config of scorers whose outputs are topics of their own."""
    folder = folder / name
    folder.mkdir()
    return write_kafka_config(
        folder,
        {"brokers": broker.bootstrap, "topic": topics["records"], "group": name},
        state={
            "type": "kafka",
            "topics": {what: topics[what] for what in SHARED} | {what: f"{own}-{what}" for what in OUTPUTS},
            "create_topics": True,
        },
        alerts={"budget": 0.02},
        training={"warm_up": {"records": 10_000}, "window": {"records": 20_000}, "every_records": None},
        limits={"batch_records": 4096, "commit_batches": 1},
    )


def await_end(broker, topic, group, seconds):
    """Until the group has committed everything."""
    deadline = time.monotonic() + seconds
    while committed(broker, group, topic) != end_offsets(broker, topic):
        if time.monotonic() > deadline:
            sys.exit(
                f"{group} stays behind: {committed(broker, group, topic)} of {end_offsets(broker, topic)}"
            )
        time.sleep(0.5)


def lag(broker, topic, group):
    ends, found = end_offsets(broker, topic), committed(broker, group, topic)
    return max(0, sum(ends.values()) - sum(found.get(number, 0) for number in ends))


def main(told):
    rng = random.Random(told.seed)
    lines = lines_of(told.records)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Broker(folder / "broker") as broker:
            topics = make_topics(broker, {"records": PARTITIONS}) | {
                what: f"shared-{what}" for what in SHARED
            }
            chaos = config_of(folder, "chaos", broker, topics, "chaos")
            quiet = config_of(folder, "quiet", broker, topics, "quiet")
            producer = Producer(
                {
                    "bootstrap.servers": broker.bootstrap,
                    "queue.buffering.max.messages": 1_000_000,
                    "enable.idempotence": True,
                }
            )
            feed(producer, topics["records"], lines[:WARM_UP], 0, 1e9)
            train(chaos, folder)
            landed = disturb(told, folder, chaos, broker, topics["records"], producer, lines, rng)
            end = start("run", quiet, "--set", "state.transactional_id=quiet", log=folder / "quiet.log")
            await_end(broker, topics["records"], "quiet", 300)
            end.terminate()
            end.wait(30)
            return judge(broker, lines, landed)


def train(config, folder):
    """One version and one reference, then nothing that would change scores."""
    trainer = start("trainer", config, log=folder / "trainer.log")
    wait_for(lambda: "model_active" in (folder / "trainer.log").read_text(), trainer, seconds=300)
    time.sleep(12)
    trainer.terminate()
    trainer.wait(30)


def disturb(told, folder, config, broker, topic, producer, lines, rng):
    """Where the kills landed."""
    landed = Counter()
    scorers = Scorers(folder, config, [f"scorer-{n}" for n in range(told.scorers)], rng)
    rate = (len(lines) - WARM_UP) / told.seconds
    feeding = threading.Thread(target=feed, args=(producer, topic, lines[WARM_UP:], WARM_UP, rate))
    feeding.start()
    while sum(landed.values()) < told.kills and feeding.is_alive():
        time.sleep(rng.uniform(0.3, 0.9) * told.seconds / told.kills)
        name = rng.choice(list(scorers.processes))
        step, behind = scorers.steps[name], lag(broker, topic, "chaos")
        if behind and scorers.kill(name):
            landed[step] += 1
            say(f"kill {sum(landed.values())}: {name} at {step}, {behind:,} records behind")
    feeding.join()
    await_end(broker, topic, "chaos", 300)
    scorers.end()
    return landed


def judge(broker, lines, landed):
    """Print the counts; 1 if anything was lost, said twice or said otherwise."""
    said, expected = (
        [json.loads(r.value) for r in read_all(broker, f"{own}-alerts")] for own in ("chaos", "quiet")
    )
    rejected = Counter(record.value for record in read_all(broker, "chaos-rejected"))
    ours, theirs = ({a["event_id"]: (a["score"], a["p_value"]) for a in found} for found in (said, expected))
    figures = {
        "kills": dict(landed),
        "alerts": len(said),
        "alerts_twice": len(said) - len(ours),
        "alerts_lost": len(theirs.keys() - ours.keys()),
        "alerts_not_expected": len(ours.keys() - theirs.keys()),
        "alerts_of_another_score": sum(ours[event] != theirs[event] for event in ours.keys() & theirs.keys()),
        "poison": len(poison(len(lines))),
        "rejected_once": sum(count == 1 for count in rejected.values()),
        "rejected_twice": sum(count > 1 for count in rejected.values()),
        "rejected_as_expected": rejected.keys() == set(poison(len(lines))),
    }
    say(json.dumps(figures, indent=1))
    wrong = (
        "alerts_twice",
        "alerts_lost",
        "alerts_not_expected",
        "alerts_of_another_score",
        "rejected_twice",
    )
    return int(any(figures[name] for name in wrong) or not figures["rejected_as_expected"])


def options():
    parser = argparse.ArgumentParser(description="Kills scorers of a cluster on a real broker.")
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=250.0, help="how long producing takes")
    parser.add_argument("--scorers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(options()))
