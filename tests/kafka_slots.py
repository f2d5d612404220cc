"""Drivers of kafka_driver.py as a test starts, kills and wakes them, and the topics that they read and write."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from kafka_topics import committed, delete_topics, end_offsets, make_topics, produce, read_all

PARTITIONS = 6
SESSION_SECONDS = 1.5
CLIENT = {"session.timeout.ms": int(SESSION_SECONDS * 1000), "heartbeat.interval.ms": 250}


class Server:
    """Starts drivers, one at a time."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("kafka_driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answers = queue.Queue()
        threading.Thread(target=lambda: [*map(self.answers.put, self.process.stdout)], daemon=True).start()

    def start(self, job):
        """The pid of a driver."""
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self.answer(30)

    def answer(self, seconds):
        """A pid or an exit code, or None where there is none in time."""
        try:
            return int(self.answers.get(timeout=seconds))
        except queue.Empty:
            return None

    def close(self):
        self.process.kill()
        self.process.communicate()


class Slot:
    """A place for one driver at a time."""

    def __init__(self, server, job, path):
        self.server, self.job, self.path = server, {**job, "log": str(path)}, path
        self.path.touch()
        self.pid, self.started = None, 0

    def start(self, **more):
        self.started += 1
        self.pid = self.server.start({**self.job, **more})

    def ended(self, seconds=0.001):
        """The exit code, or None while it runs."""
        code = self.server.answer(seconds)
        self.pid = self.pid if code is None else None
        return code

    @property
    def log(self):
        return self.path.read_text(encoding="utf-8")

    def kill(self):
        if self.pid is not None and self.ended() is None:
            os.kill(self.pid, signal.SIGKILL)
            assert self.ended(10) == -signal.SIGKILL

    def wake(self):
        os.kill(self.pid, signal.SIGCONT)


class World:
    """A topic of numbered records, the topics that drivers write, and the drivers."""

    def __init__(self, broker, servers, folder, records):
        self.broker, self.servers, self.folder, self.count = broker, servers, folder, 0
        self.names = make_topics(broker, {"records": PARTITIONS, "alerts": 3, "rejected": 1, "candidates": 1})
        self.slots = []
        self.write(records)

    def write(self, records):
        """So many more of them."""
        for partition in range(PARTITIONS):
            first, end = (self.count + part * records // PARTITIONS for part in (partition, partition + 1))
            produce(self.broker, self.names["records"], [*map(str, range(first, end))], partition)
        self.count += records
        self.ends = end_offsets(self.broker, self.names["records"])

    def slot(self, name, rows, log=None, **more):
        """A slot whose drivers commit at most `rows` records at once, ten times a second; `more` goes into the job."""
        job = {
            "brokers": self.broker.bootstrap,
            "topic": self.names["records"],
            "topics": [self.names[name] for name in ("alerts", "rejected", "candidates")],
            "client": CLIENT,
            "rows": rows,
            "id": name,
            **more,
        }
        server = self.servers[len(self.slots)]
        self.slots.append(Slot(server, job, self.folder / (log or name)))
        return self.slots[-1]

    def committed(self):
        return committed(self.broker, self.names["records"], self.names["records"])

    def wait(self, condition, seconds=40):
        """Wait while every driver runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            for slot in self.slots:
                assert slot.pid is None or (code := slot.ended()) is None, f"{code}: {slot.log[-6000:]}"
            assert time.monotonic() < deadline, [slot.log[-6000:] for slot in self.slots]
            time.sleep(0.2)

    def finish(self, seconds=40):
        """Wait for the end of the records, and check that each alert is there once. Returns the alerts that were
        written and taken back."""
        self.wait_for_end(seconds)
        seen = Counter(alert["record"]["n"] for alert in self.alerts())
        twice = {number: times for number, times in seen.items() if times > 1}
        assert (sorted({*range(0, self.count, 10)} - {*seen}), twice) == ([], {})
        return len(self.alerts("read_uncommitted")) - len(seen)

    def wait_for_end(self, seconds=40):
        """Wait until all records are done."""
        self.wait(lambda: self.committed() == self.ends, seconds)

    def alerts(self, isolation="read_committed"):
        """What a reader of the alerts finds."""
        return [json.loads(record.value) for record in read_all(self.broker, self.names["alerts"], isolation)]

    def close(self):
        for slot in self.slots:
            slot.kill()
        delete_topics(self.broker, self.names.values())
