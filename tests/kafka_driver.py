"""A scorer without a model, for tests that kill it: every tenth record is an alert, whose number it carries.

    python kafka_driver.py    one run for each line of stdin, each in a process forked from this one; the pid is
                              answered first, and the exit code when it has ended

A job: {"brokers": HOSTS, "topic": NAME, "topics": NAMES, "id": TRANSACTIONAL ID, "client": SETTINGS, "rows": N,
"log": PATH, "step": NAME, "after": COMMITS, "signal": NUMBER}; the last three may be left out. Without an id alerts are
delivered at least once. With "follow": PATH in place of the topic's name it reads the lines of a growing file, whose
place Kafka keeps, under the id of that feed's one scorer. Rows are those of one commit. The run sends itself the signal at that step of a commit with alerts, after so many of them: ``ready`` is before
the transaction begins, ``written`` when the alerts are, ``sent`` when the offsets are, ``commit`` somewhere behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import structlog
from streamad_connectors.files import plugin as files
from streamad_connectors.kafka.kept import open_kept
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.sink import open_sink
from streamad_connectors.kafka.source import KafkaOptions, open_member
from streamad_connectors.kafka.topics import Topics

from streamad.errors import CommitAbortedError, StreamadError
from streamad.ports import Commit, Revoked, SourceContext
from streamad.records.batch import Block

COMMIT_SECONDS = 0.1


class Ender:
    """Sends the process a signal at a step."""

    def __init__(self, told, log):
        self.step, self.left = told.get("step"), told.get("after", 0)
        self.signal, self.log = told.get("signal", signal.SIGKILL), log
        self.alerts = False  # whether the commit under way has some

    def __call__(self, step):
        if step != ("sent" if self.step == "commit" else self.step) or not self.alerts:
            return
        self.left -= 1
        if self.left == 0:
            self.log(f"sends itself {self.signal:d} at {self.step}")
            if self.step == "commit":
                threading.Timer(random.uniform(0, 0.02), self._end).start()
            else:
                self._end()

    def _end(self):
        os.kill(os.getpid(), self.signal)


class Driver:
    """What an engine does with its source and its sink, on one thread."""

    def __init__(self, told):
        self.path = Path(told["log"])
        self.ender = Ender(told, self.log)
        context = SourceContext(Path(), 1 << 20, 0, bounded=False, release=self.release)
        self.source, self.sink = (
            self.from_file(told, context) if "follow" in told else self.open(told, context)
        )
        self.sink.restore()
        self.rows, self.committed = told["rows"], {}
        self.drop()

    def open(self, told, context):
        named = {"type": "kafka", "topic": told["topic"], "group": told["topic"], "brokers": told["brokers"]}
        client = KafkaOptions(**named, client=told["client"])
        source, topics = open_member(client, context, alone=False), Topics(*told["topics"], "", "", "")
        sink = open_sink(client, Path(), topics, source, transactional_id=told["id"], on_step=self.ender)
        return source, sink

    def from_file(self, told, context):
        client, topics = (
            KafkaClient(brokers=told["brokers"]),
            Topics(*told["topics"][:3], "", "", *told["topics"][3:]),
        )
        options = files.options(type="files", paths=[told["follow"]], follow=True, format="ndjson")
        names = {"group": topics.control, "transactional_id": told["id"]}
        return open_kept(client, Path(), topics, files.open(options, context), **names, on_step=self.ender)

    def log(self, line):
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{time.time():.3f} {os.getpid()} {line}\n")

    def run(self):
        due = time.monotonic() + COMMIT_SECONDS
        while True:
            got = self.source.poll(max(0, self.rows - self.open_rows), 0.02)
            if isinstance(got, Block):
                self.take(got)
            elif isinstance(got, Revoked):
                self.forget(got.partitions)
                self.rewind()
            if time.monotonic() >= due:
                due = time.monotonic() + COMMIT_SECONDS
                if not self.commit():
                    self.rewind()

    def take(self, block):
        for row in range(len(block)):
            number = int(block.payload(row))
            if number % 10 == 0:
                event = f"feed/{block.position(row)}"
                alert = {"event_id": event, "alert_id": hashlib.sha256(event.encode()).hexdigest()[:20]}
                self.alerts.append({**alert, "key": None, "reasons": [], "record": {"n": number}})
        self.open_rows += len(block)
        self.positions |= block.cursors
        self.moved |= block.cursors.keys()

    def commit(self):
        """Whether it was not rolled back."""
        self.ender.alerts = bool(self.alerts)
        try:
            self.sink.commit(Commit(self.positions, 0, alerts=self.alerts, moved=self.moved))
        except CommitAbortedError as error:
            self.log(f"aborted: {error}")
            return False
        if self.alerts:
            self.log("committed")
        self.committed = self.positions
        self.drop()
        return True

    def drop(self):
        """Begin a new batch."""
        self.positions, self.alerts, self.open_rows = dict(self.committed), [], 0
        self.moved = set()

    def release(self, partitions):
        """Within `poll`: the engine's thread would commit what it has of them."""
        self.commit()
        self.forget(partitions)

    def forget(self, partitions):
        self.committed = {name: at for name, at in self.committed.items() if name not in partitions}

    def rewind(self):
        self.drop()
        self.source.seek(self.committed)


def main():
    for line in sys.stdin:
        told = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                os.dup2(os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
                structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
                Driver(told).run()
            except StreamadError as error:
                os.write(2, f"{error}\n".encode())
                os._exit(error.exit_code)
            except Exception:  # noqa: BLE001  # a forked child must not go on as its parent
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
