"""Health on a real broker: how far behind, a scorer that hangs, a partition that is broken."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from engines import engine
from feeds import FEED, write_kafka_config
from kafka_topics import committed, delete_topics, produce, read_all
from kafka_updates_help import admin_connection, publisher, topics_named
from processes import ask
from streamad_connectors.kafka.source import KafkaOptions, open_member, open_tail
from streamad_connectors.kafka.topics import create_missing
from streamad_connectors.memory import Records
from streamad_connectors.synthetic import generate_lines

from streamad.ports import SourceContext
from streamad.records.batch import Block
from streamad.state.artifacts import read_files

pytestmark = pytest.mark.kafka

SECONDS = 60
LINES = generate_lines(5, 0, 4000, anomaly_share=0.05).splitlines()


def until(condition, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.02)
    return found


# ---- how far behind a source is ---------------------------------------------------------------------------


class Reader:
    """A source, how far what it gave was committed, and what it says of itself."""

    def __init__(self, source):
        self.source, self.positions = source, {}

    def read(self, rows=100):
        got = self.source.poll(rows, 0.05)
        if isinstance(got, Block):
            self.positions |= got.cursors
        return got

    def lag(self):
        self.read(0)
        return {int(name[-1]): lag for name, lag in self.source.figures(self.positions).lag.items()}


@pytest.fixture
def options(broker, topics):
    """Of a source whose topic has two partitions."""
    topic = topics({"records": 2})["records"]
    client = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    named = {"type": "kafka", "brokers": broker.bootstrap, "topic": topic, "group": f"group-{topic}"}
    return KafkaOptions(**named, client=client)


@pytest.fixture
def opened():
    """Keeps sources, to be closed."""
    kept = []
    yield lambda source: kept.append(Reader(source)) or kept[-1]
    for reader in kept:
        reader.source.close()


CONTEXT = SourceContext(Path(), 1 << 20, 0, bounded=False)


def aborted(broker, topic, partition):
    """Five records that were taken back, at a partition's end."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": topic, "log_level": 0})
    producer.init_transactions()
    producer.begin_transaction()
    for _ in range(5):
        producer.produce(topic, b"x", partition=partition)
    producer.flush()
    producer.abort_transaction()


def test_a_member_knows_how_far_its_partitions_go_beyond_what_was_committed(broker, options, opened):
    for partition, count in ((0, 300), (1, 40)):
        produce(broker, options.topic, [b"x"] * count, partition=partition)
    aborted(broker, options.topic, 1)
    reader = opened(open_member(options, CONTEXT, alone=False))
    assert not reader.source.figures({}).settled
    until(lambda: reader.read(10) and len(reader.lag()) == 2)
    seen = reader.lag()
    handed = {int(name[-1]): cursor["offset"] for name, cursor in reader.positions.items()}
    assert seen == {0: 300 - handed.get(0, 0), 1: 46 - handed.get(1, 0)}
    assert sum(seen.values()) > 200
    until(lambda: reader.read() and reader.lag() == {0: 0, 1: 0})
    produce(broker, options.topic, [b"x"] * 7, partition=0)
    time.sleep(0.3)
    until(lambda: reader.lag() == {0: 7, 1: 0})
    figures = reader.source.figures(reader.positions)
    assert (figures.settled, figures.paused, figures.away) == (True, (), False)
    assert 0 <= time.monotonic() - figures.polled_at < 5


def test_a_member_too_many_is_ready_with_nothing_to_read(options, opened):
    readers = [opened(open_member(options, CONTEXT, alone=False)) for _ in range(3)]

    def shared_out():
        for reader in readers:
            reader.read()
        return sorted(len(reader.source.owned) for reader in readers) == [0, 1, 1]

    until(shared_out)
    assert [reader.source.figures({}).settled for reader in readers] == [True] * 3


def test_a_paused_partition_is_read_again_only_when_it_was_elsewhere(broker, options, opened):
    reader = opened(open_member(options, CONTEXT, alone=False))
    for partition in (0, 1):
        produce(broker, options.topic, [b"x"] * 20, partition=partition)
    until(lambda: reader.read() and reader.lag() == {0: 0, 1: 0})
    reader.source.pause([f"{options.topic}/1"])
    reader.read()
    for partition in (0, 1):
        produce(broker, options.topic, [b"x"] * 20, partition=partition)
    until(lambda: reader.read() and reader.positions[f"{options.topic}/0"]["offset"] == 40)
    reader.source.seek(reader.positions)
    for _ in range(10):
        reader.read()
    assert reader.positions[f"{options.topic}/1"]["offset"] == 20
    assert reader.source.figures(reader.positions).paused == (f"{options.topic}/1",)
    until(lambda: reader.read() and reader.lag() == {0: 0, 1: 20})
    reader.source.renew()
    until(lambda: reader.read() and reader.positions[f"{options.topic}/1"]["offset"] == 40)
    assert reader.source.figures(reader.positions).paused == ()


def test_a_trainers_source_comes_to_its_end_behind_what_was_aborted(broker, options, opened):
    produce(broker, options.topic, [b"x"] * 100, partition=0)
    aborted(broker, options.topic, 0)
    reader = opened(open_tail(options, CONTEXT, 1000))
    until(lambda: reader.read() and reader.lag() == {0: 0, 1: 0})
    assert reader.positions[f"{options.topic}/0"]["offset"] == 106
    assert reader.source.figures({}).settled


# ---- a whole scorer ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The files of a small model."""
    folder = tmp_path_factory.mktemp("artifact")
    with engine(folder, [Records("p0", LINES[:2100])]) as live:
        live.engine.run()
        return read_files(live.state.artifacts / "000001")


class Scorer:
    """A scorer in a process of its own, and what it answers."""

    def __init__(self, folder, broker, records, topics, **limits):
        self.broker, self.topics, self.log = broker, topics, folder / "log"
        self.records = records
        source = {"brokers": broker.bootstrap, "topic": records, "group": records}
        config = write_kafka_config(
            folder,
            source,
            state={"type": "kafka", "topics": topics._asdict()},
            http={"listen": "127.0.0.1:0"},
            limits={"commit_batches": 1, **limits},
        )
        command = [sys.executable, Path(__file__).with_name("kafka_hanging.py"), "run", config]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(list(map(str, command)), stderr=log)

    @property
    def said(self):
        return self.log.read_text()

    def ask(self, path):
        port = until(lambda: re.search(r'"port": (\d+)', self.said))[1]
        return ask(int(port), path)

    def lag(self, partition):
        found = re.search(
            rf'^streamad_lag_records{{partition=".*/{partition}"}} (.*)$',
            self.ask("/metrics")[1],
            re.MULTILINE,
        )
        return found and float(found[1])

    def feed(self, partition, values):
        produce(self.broker, self.records, values, partition=partition)

    @property
    def committed(self):
        return committed(self.broker, self.records, self.records)


@pytest.fixture
def scorer(tmp_path, broker, topics, artifact):
    """Starts one, on topics that hold a model, and waits until it scores, unless that is not to be waited for."""
    records = topics({"records": 2})["records"]
    others = topics_named(records)
    create_missing(admin_connection(broker), others)
    voice = publisher(broker, others)
    started = []
    try:
        until(lambda: voice.wait_until_active(1))
        voice.publish(1, artifact)
    finally:
        voice.close()

    def start(*, ready=True, **limits):
        started.append(Scorer(tmp_path, broker, records, others, **limits))
        until(lambda: not ready or started[-1].ask("/readyz") == (200, "ok\n"))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
    delete_topics(broker, others)


def test_a_scorer_whose_sink_hangs_turns_red_and_ends(scorer, tmp_path, monkeypatch):
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(SECONDS)
        one = scorer(watchdog_seconds=4)
        one.feed(0, LINES[:1000])
        until(lambda: one.committed.get(0) == 1000)
        until(lambda: (one.lag(0), one.lag(1)) == (0, 0))
        assert one.ask("/healthz") == (200, "ok\n")
        one.process.send_signal(signal.SIGUSR1)
        one.feed(0, LINES[1000:1400])
        red = until(lambda: one.ask("/healthz") != (200, "ok\n") and one.ask("/healthz"))
        assert re.fullmatch(r"no progress for \d+ s although 400 records wait\n", red[1])
        assert one.lag(0) == 400
        heard = []
        while not (heard and "although" in heard[-1]):
            heard += systemd.recv(999).decode().splitlines()
    assert "READY=1" in heard
    assert "WATCHDOG=1" in heard
    assert one.process.wait(SECONDS) == 3
    last = one.said.splitlines()[-1]
    assert re.fullmatch(r"streamad: no progress for \d+ s although 400 records wait", last)
    assert one.said.count('"event": "stalled"') == 1
    assert one.committed.get(0) == 1000


def test_a_partition_full_of_junk_is_paused_and_the_other_goes_on(scorer):
    one = scorer(rejected_window=200, batch_records=64)
    one.feed(1, [b"junk"] * 60_000)
    red = (503, f"most of the last records of {one.records}/1 were rejected: paused\n")
    until(lambda: one.ask("/healthz") == red)
    one.feed(1, [b"junk"] * 1000)  # nothing is fetched of it any more, and it counts
    one.feed(0, LINES)
    until(lambda: one.committed.get(0) == len(LINES))
    stopped = one.committed[1]
    assert 200 <= stopped < 60_000
    rejected = [
        dict(record.headers)["position"].decode() for record in read_all(one.broker, one.topics.rejected)
    ]
    assert rejected == [f"{one.records}/1@{offset}" for offset in range(stopped)]
    assert one.ask("/healthz") == red
    assert one.ask("/readyz") == (200, "ok\n")
    until(lambda: one.lag(1) == 61_000 - stopped)
    alerts = [record.key.decode() for record in read_all(one.broker, one.topics.alerts)]
    assert {alert.rpartition("@")[0] for alert in alerts} == {f"{FEED}/{one.records}/0"}
    one.feed(0, [b"junk"] * 2000)
    assert one.process.wait(SECONDS) == 3
    assert one.said.splitlines()[-1] == (
        f"streamad: most of the last records of {one.records}/0, {one.records}/1 were rejected, and there is nothing "
        "else to read here; the topic of rejected records holds them"
    )


MEMBER = """
import sys
from confluent_kafka import Consumer
brokers, group = sys.argv[1:]
member = Consumer({"bootstrap.servers": brokers, "group.id": group, "session.timeout.ms": 120000,
                   "partition.assignment.strategy": "cooperative-sticky"})
member.subscribe([group])
while not member.assignment():
    member.poll(0.1)
print("member", flush=True)
member.poll(600)
"""


def test_a_scorer_that_is_never_told_what_to_read_turns_red_and_ends(scorer, broker):
    first = scorer(watchdog_seconds=0)
    first.process.terminate()
    assert first.process.wait(SECONDS) == 0
    command = [sys.executable, "-c", MEMBER, broker.bootstrap, first.records]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as member:
        try:
            assert member.stdout.readline() == "member\n"
            member.send_signal(signal.SIGSTOP)  # the group waits for it, and gives nobody anything meanwhile
            one = scorer(ready=False, watchdog_seconds=4)
            red = until(lambda: one.ask("/healthz") != (200, "ok\n") and one.ask("/healthz"))
            assert re.fullmatch(r"no progress for \d+ s since no partitions were given to it\n", red[1])
            assert one.ask("/readyz") == (503, "waits to be given partitions\n")
            assert one.process.wait(SECONDS) == 3
            last = one.said.splitlines()[-1]
            assert re.fullmatch(r"streamad: no progress for \d+ s since no partitions were given to it", last)
        finally:
            member.kill()
