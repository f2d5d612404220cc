"""Files in, Kafka out: the place in the files moves in the transaction that brings what came of them."""

from __future__ import annotations

import json
import random
import secrets
import signal
import time
from collections import Counter

import pytest
from confluent_kafka import Consumer, TopicPartition
from feeds import write_config, write_log
from kafka_slots import Server, Slot
from kafka_topics import committed, read_all
from processes import say, start, wait_for
from streamad_connectors.kafka.kept import open_kept
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.topics import Topics
from streamad_connectors.memory import MemorySource, Records

from streamad.cli import main
from streamad.errors import InputError, UserError
from streamad.ports import Commit, Revoked
from streamad.records.batch import Block

pytestmark = pytest.mark.kafka

STEPS = ("ready", "written", "sent", "commit")
KILLS = 20


@pytest.fixture(scope="module")
def servers():
    made = [Server() for _ in range(2)]
    yield made
    for server in made:
        server.close()


class World:
    """A growing file of numbered records, the topics that drivers write, and the drivers."""

    def __init__(self, broker, names, folder):
        self.broker, self.names, self.path = broker, names, folder / "numbers.log"
        self.job = {
            "brokers": broker.bootstrap,
            "follow": str(self.path),
            "topics": [names[name] for name in ("alerts", "rejected", "candidates", "control")],
            "rows": 20,
            "id": names["control"],
        }
        self.slots, self._written = [], 0

    def slot(self, server):
        self.slots.append(Slot(server, self.job, self.path.parent / f"slot-{len(self.slots)}"))
        return self.slots[-1]

    def write(self, count):
        """So many more lines."""
        numbers = range(self._written, self._written + count)
        with self.path.open("a") as file:
            file.write("".join(f"{number}\n" for number in numbers))
        self._written += count

    def rotate(self):
        self.path.rename(self.path.with_suffix(f".log.{time.monotonic_ns()}"))

    def alerts(self, isolation="read_committed"):
        found = read_all(self.broker, self.names["alerts"], isolation)
        return [json.loads(record.value)["record"]["n"] for record in found]

    def finish(self, seconds=60):
        """Wait until the last alert is there, and check that each is there once."""
        deadline, expected = time.monotonic() + seconds, range(0, self._written, 10)
        while (self._written - 1) // 10 * 10 not in (seen := self.alerts()):
            told = [slot.log[-4000:] for slot in self.slots]
            assert time.monotonic() < deadline, told
            time.sleep(0.2)
        twice = {number: times for number, times in Counter(seen).items() if times > 1}
        assert (sorted({*expected} - {*seen}), twice) == ([], {})
        return len(self.alerts("read_uncommitted")) - len(seen)


@pytest.fixture
def world(broker, topics, tmp_path):
    made = World(broker, topics({"alerts": 3, "rejected": 1, "candidates": 1, "control": 1}), tmp_path)
    yield made
    for slot in made.slots:
        slot.kill()


def test_every_alert_is_there_once_after_the_scorer_of_a_rotated_file_was_killed_twenty_times(world, servers):
    began, chance, kills = time.monotonic(), random.Random(1), Counter()
    slot = world.slot(servers[0])
    for number in range(KILLS):
        if number % 7 == 6:
            world.rotate()
        world.write(100)  # more than are read until the kill
        slot.start(step=STEPS[number % 4], after=chance.randint(1, 3))
        assert slot.ended(30) == -signal.SIGKILL, slot.log[-6000:]
        kills[STEPS[number % 4]] += 1
    say(f"killed {dict(kills)} in {time.monotonic() - began:.1f} s")
    slot.start(rows=1000)
    taken_back = world.finish()
    say(f"{taken_back} alerts were taken back, all done after {time.monotonic() - began:.1f} s")
    assert taken_back > 0
    ((place, offset),) = committed(world.broker, world.names["control"], world.names["control"]).items()
    assert (place, offset > KILLS / 2) == (0, True)


def test_of_two_scorers_of_the_same_files_one_ends_and_says_why_and_every_alert_is_there_once(world, servers):
    world.write(900)
    for server in servers:
        world.slot(server).start()
    codes, deadline = [], time.monotonic() + 30
    while not codes:
        codes = [code for slot in world.slots if (code := slot.ended()) is not None]
        assert time.monotonic() < deadline, [slot.log for slot in world.slots]
    assert codes == [2]
    (told,) = [slot.log.splitlines()[-1] for slot in world.slots if slot.pid is None]
    assert told == (
        f"another process writes under the transactional id {world.job['id']} too: it reads the same feed, which has one "
        "scorer"
    )
    world.finish()


def test_a_file_ends_up_in_topics_through_a_scorer_that_waits_for_the_trainers_model(
    broker, topics, tmp_path, capsys
):
    topic = topics({"alerts": 1})["alerts"]
    names = {what: f"{topic}.{what}" for what in ("rejected", "candidates", "labels", "models", "control")}
    lines = write_log(tmp_path, 3000, junk=40)
    config = write_config(
        tmp_path,
        feed=topic,
        state={
            "type": "kafka",
            "brokers": broker.bootstrap,
            "topics": {"alerts": topic} | names,
            "create_topics": True,
        },
        training={"warm_up": {"records": 5000}, "window": {"records": 3000}, "every_records": None},
    )  # the file ends before so many records are held
    scorer = start("run", config, log=tmp_path / "scorer.log")
    wait_for(lambda: "started" in (tmp_path / "scorer.log").read_text(), scorer)
    assert start("trainer", config, log=tmp_path / "trainer.log").wait(240) == 0
    assert scorer.wait(120) == 0
    events = [json.loads(record.value)["event_id"] for record in read_all(broker, topic)]
    assert len(events) == len({*events}) > 0
    assert {*events} <= {f"{topic}/kdd.log:{line}" for line in range(1, len(lines) + 1)}
    rejected = [record.key.decode() for record in read_all(broker, names["rejected"])]
    assert rejected == [f"kdd.log:{line}" for line in range(40, len(lines) + 1, 40)]
    assert main(["label", str(config), f"{topic}/kdd.log:40", "normal"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"streamad: {topic}/kdd.log:40 is none of the newest alerts and candidates: its label needs the record beside it"
    )


@pytest.mark.parametrize("state", [{"transactional_id": "mine"}, {"delivery": "at_least_once"}])
def test_what_would_let_two_scorers_read_the_same_files_is_refused(tmp_path, capsys, state):
    write_log(tmp_path, 10)
    config = write_config(tmp_path, state={"type": "kafka", "brokers": "127.0.0.1:1"} | state)
    assert main(["run", str(config), "--check"]) == 2
    assert capsys.readouterr().err == (
        "streamad: with source.type files a feed has one scorer, which transactions under the id streamad-feed-scorer make "
        "sure of: leave state.delivery and state.transactional_id out\n"
    )


def test_brokers_are_asked_for_where_the_records_are_not_in_kafka(tmp_path, capsys):
    write_log(tmp_path, 10)
    assert main(["run", str(write_config(tmp_path, state={"type": "kafka"}))]) == 2
    assert capsys.readouterr().err == (
        "streamad: state.brokers is missing: with source.type files nothing else names them\n"
    )


def test_a_check_names_what_is_looked_at_for_files_and_leaves_no_trace(broker, tmp_path, capsys):
    write_log(tmp_path, 10)
    config = write_config(
        tmp_path, feed="unseen", state={"type": "kafka", "brokers": broker.bootstrap, "create_topics": True}
    )
    assert main(["run", str(config), "--check"]) == 0
    found = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    missing = ("alerts", "rejected", "candidates", "labels", "models", "control")
    assert found[2:] == [
        "source files: can be read",
        f"brokers {broker.bootstrap}: reached by the user that streamad connects as",
        *(f"topic unseen.{name}: is missing, and will be made" for name in missing),
        "transactional id streamad-unseen-scorer: Write",
    ]


class Kept:
    """A source of three records whose place is kept, and the sink, in this process."""

    def __init__(self, world, source=None):
        names = world.names
        topics = Topics(names["alerts"], names["rejected"], names["candidates"], "", "", names["control"])
        self.inner = source or MemorySource([Records("a", [b"1", b"2", b"3"])], bounded=False)
        self.source, self.sink = open_kept(
            KafkaClient(brokers=world.broker.bootstrap),
            world.path.parent,
            topics,
            self.inner,
            group=topics.control,
            transactional_id=topics.control,
        )
        assert self.sink.restore() is None
        self.source.seek({})

    def take(self, rows):
        """The next rows."""
        deadline = time.monotonic() + 20
        while not isinstance(got := self.source.poll(rows, 0.1), Block):
            assert time.monotonic() < deadline
        return got

    def commit(self, block):
        self.sink.commit(Commit(block.cursors, 0))

    def close(self):
        self.sink.close()
        self.source.close()


@pytest.fixture
def kept(world):
    opened = []

    def make(source=None):
        opened.append(Kept(world, source))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_reading_goes_on_where_the_last_commit_was_also_after_one_whose_outcome_is_unknown(kept):
    first = kept()
    first.commit(first.take(1))
    second = kept()
    block = second.take(5)
    assert [block.position(row) for row in range(2)] == ["a:1", "a:2"]
    second.commit(block)
    second.source.renew()
    assert second.source.poll(5, 0.1) == Revoked(("a",))
    second.inner.add(Records("a", [b"4"]))
    assert second.take(5).position(0) == "a:3"


def test_a_place_is_said_again_when_nothing_has_moved_for_long(kept, world, monkeypatch):
    one = kept()
    one.commit(one.take(5))
    monkeypatch.setattr("streamad_connectors.kafka.kept._SAY_AGAIN_SECONDS", 0.0)
    again = one.take(5)
    assert (len(again), again.cursors) == (0, {"a": {"offset": 3}})
    one.commit(again)
    control = world.names["control"]
    assert committed(world.broker, control, control) == {0: 2}
    assert kept().source.poll(5, 0.1).cursors == {"a": {"offset": 3}}


def test_a_place_that_somebody_else_has_written_is_refused(kept, world):
    control = world.names["control"]
    consumer = Consumer({"bootstrap.servers": world.broker.bootstrap, "group.id": control})
    consumer.commit(offsets=[TopicPartition(control, 0, 7, "{}")], asynchronous=False)
    consumer.close()
    with pytest.raises(
        InputError, match=rf"^the group's offset for topic {control} does not say how far was"
    ):
        kept().take(1)


def test_more_than_a_broker_keeps_with_an_offset_is_refused_and_nothing_is_committed(kept, world):
    one = kept(MemorySource([Records(secrets.token_hex(5000), [b"1"])]))
    with pytest.raises(
        UserError, match=r"^how far each file was read takes more room than brokers keep with"
    ):
        one.commit(one.take(1))
    control = world.names["control"]
    assert committed(world.broker, control, control) == {}
