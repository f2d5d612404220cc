"""A cluster of processes of their own on a real broker, as tests start, end and ask it."""

from __future__ import annotations

import json
import signal
import time

from feeds import FEED, merged, write_kafka_config
from kafka_topics import committed, end_offsets, produce, read_all
from processes import start

PARTITIONS = 3
TOPICS = ("alerts", "rejected", "candidates", "labels", "models", "control")
_CONFIG = {
    "training": {"warm_up": {"records": 2000}, "window": {"records": 3000}, "every_records": None},
    "limits": {"batch_records": 512, "commit_batches": 1},
}


class Running:
    """The processes of one cluster, by name: trainers' names begin with trainer."""

    def __init__(self, folder, broker, records, **changes):
        self.folder, self.broker, self.records = folder, broker, records
        self.topics = {what: f"{records}.{what}" for what in TOPICS}
        self.processes, self.feed_name = {}, f"{FEED}-{records}"
        self.config = write_kafka_config(
            folder,
            {"brokers": broker.bootstrap, "topic": records, "group": f"group-{records}"},
            feed=self.feed_name,
            state={"type": "kafka", "topics": self.topics, "create_topics": True},
            **merged(_CONFIG, changes),
        )

    def start(self, name, *more):
        command = (
            ["trainer", self.config]
            if name.startswith("trainer")
            else ["run", self.config, "--set", f"state.transactional_id={self.records}-{name}"]
        )
        self.processes[name] = start(*command, *more, log=self.folder / f"{name}.log")
        return self.processes[name]

    def kill(self, name, number=signal.SIGKILL):
        self.processes[name].send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.processes[name].wait(30)

    def end(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait(30)

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def feed(self, lines):
        """Produce lines, the partitions taking turns."""
        for partition in range(PARTITIONS):
            produce(self.broker, self.records, lines[partition::PARTITIONS], partition=partition)

    def events(self, lines):
        """The event id of each line, once `feed` has produced them all."""
        return {
            f"{self.feed_name}/{self.records}/{number % PARTITIONS}@{number // PARTITIONS}": line
            for number, line in enumerate(lines)
        }

    def await_end(self, seconds=120):
        """Wait until the group has committed all there is."""
        deadline, ends = time.monotonic() + seconds, end_offsets(self.broker, self.records)
        while (found := committed(self.broker, f"group-{self.records}", self.records)) != ends:
            assert time.monotonic() < deadline, (found, ends)
            time.sleep(0.2)

    def values(self, what):
        return [json.loads(record.value) for record in read_all(self.broker, self.topics[what])]
