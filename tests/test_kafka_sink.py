"""The sink on a real broker: what one commit moves together, and what becomes of one that fails."""

from __future__ import annotations

import base64
import json
import os
import signal
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AclOperation, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from kafka_broker import USERS
from kafka_topics import admin, allow, committed, end_offsets, read_all
from pydantic import SecretStr
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.sink import open_sink
from streamad_connectors.kafka.topics import Topics
from streamad_connectors.kafka.transactions import TRANSACTION_SECONDS, StartOverError

from streamad.errors import CommitAbortedError, UserError
from streamad.ports import Commit

pytestmark = pytest.mark.kafka


class Member:
    """A consumer of the group. Without `joined` it only names the group, and may commit while nobody has joined it."""

    def __init__(self, broker, topic, *, joined=False):
        self.settings = {
            "bootstrap.servers": broker.bootstrap,
            "group.id": topic,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
        self.topic, self.joined, self.renewed = topic, joined, 0
        self.owned = {f"{topic}/0", f"{topic}/1"}
        self._open()

    def _open(self):
        self.consumer = Consumer(self.settings)
        if self.joined:
            self.consumer.subscribe([self.topic])
            while not self.consumer.assignment():
                self.consumer.poll(0.1)

    def group_metadata(self):
        return self.consumer.consumer_group_metadata()

    def commit(self, offsets):
        self.consumer.commit(offsets=offsets, asynchronous=False)

    def renew(self):
        self.renewed += 1
        self.close()
        self._open()

    def close(self):
        self.consumer.close()


class World:
    """The topics of a test, a member of the group and the sinks that were opened."""

    def __init__(self, broker, names):
        self.broker, self.records = broker, names["records"]
        self.topics = Topics(names["alerts"], names["rejected"], names["candidates"], "", "", "")
        self.closing = []

    def member(self, **more):
        return self._kept(Member(self.broker, self.records, **more))

    def sink(self, member=None, name="default", client=None, **more):
        """A sink that is ready; `name` is its transactional id, None for at least once."""
        options = KafkaClient(brokers=self.broker.bootstrap, client=client or {})
        name = self.records if name == "default" else name
        member = member or self.member()
        sink = self._kept(open_sink(options, None, self.topics, member, transactional_id=name, **more))
        assert sink.restore() is None
        return sink

    def commit(self, alerts=(), moved=None, **offsets):
        """A `Commit` up to these offsets, ``p0=5``, which moved all of the partitions or those named, ``["p0"]``."""
        positions = {self._named(name): {"offset": offset} for name, offset in offsets.items()}
        told = [alert(n) if isinstance(n, int) else n for n in alerts]
        return Commit(positions, 0, alerts=told, moved=None if moved is None else [*map(self._named, moved)])

    def _named(self, name):
        return f"{self.records}/{name[1:]}"

    def seen(self):
        """The numbers of the alerts that a reader sees, and the group's offsets."""
        alerts = [json.loads(record.value)["n"] for record in read_all(self.broker, self.topics.alerts)]
        return sorted(alerts), committed(self.broker, self.records, self.records)

    def _kept(self, thing):
        self.closing.append(thing)
        return thing


def alert(n, record=None):
    return {"n": n, "event_id": f"feed/records/0@{n}", "key": None, "reasons": [], "record": record or {}}


@pytest.fixture
def world(broker, topics):
    made = World(broker, topics({"records": 2, "alerts": 2, "rejected": 1, "candidates": 1}))
    yield made
    for thing in made.closing:
        thing.close()


def test_alerts_rejected_payloads_candidates_and_offsets_move_together(world):
    seen = {
        **alert(1),
        "event_id": "feed/r/1@4",
        "reasons": [{"field": "a", "value": "ü", "share": 0.5}],
        "p_value": 0.25,
    }
    pool = [{**seen, "kind": kind} for kind in ("alert", "candidate", "random")]
    bad = {
        "position": "r/0@2",
        "reason": "not_a_number",
        "field": "a",
        "detail": "'ü\ud800' is not a number",
        "bytes_base64": base64.b64encode(b"\xff\x00{").decode(),
        "length": 3,
        "sha256": "00ff",
        "rejected_at": "2026-01-01T00:00:00.000Z",
    }
    positions = {f"{world.records}/0": {"offset": 3}, f"{world.records}/1": {"offset": 5}}
    empty = {**bad, "position": "r/0@1", "field": None, "bytes_base64": ""}
    world.sink().commit(Commit(positions, 8, alerts=[seen], rejected=[bad, empty], pool=pool))
    assert [record[2:] for record in read_all(world.broker, world.topics.alerts)] == [
        (
            b"feed/r/1@4",
            '{"n":1,"event_id":"feed/r/1@4","key":null,"reasons":[{"field":"a","value":"ü","share":0.5}],'
            '"record":{},"p_value":0.25}'.encode(),
            [],
        )
    ]
    assert [record[2:] for record in read_all(world.broker, world.topics.rejected)] == [
        (
            b"r/0@2",
            b"\xff\x00{",
            [
                ("position", b"r/0@2"),
                ("reason", b"not_a_number"),
                ("field", b"a"),
                ("detail", "'ü\\ud800' is not a number".encode()),
                ("length", b"3"),
                ("sha256", b"00ff"),
                ("rejected_at", b"2026-01-01T00:00:00.000Z"),
            ],
        ),
        (
            b"r/0@1",
            b"",
            [
                ("position", b"r/0@1"),
                ("reason", b"not_a_number"),
                ("field", None),
                ("detail", "'ü\\ud800' is not a number".encode()),
                ("length", b"3"),
                ("sha256", b"00ff"),
                ("rejected_at", b"2026-01-01T00:00:00.000Z"),
            ],
        ),
    ]
    candidates = [json.loads(record.value) for record in read_all(world.broker, world.topics.candidates)]
    assert candidates == pool[1:]
    assert committed(world.broker, world.records, world.records) == {0: 3, 1: 5}


def test_there_is_no_transaction_when_nothing_moved(world):
    sink = world.sink()
    sink.commit(world.commit([1], p0=2))
    before = end_offsets(world.broker, world.topics.alerts)
    sink.commit(world.commit(p0=2, moved=[]))
    sink.commit(world.commit())
    assert end_offsets(world.broker, world.topics.alerts) == before
    assert sink.figures["transactions"] == 1


def test_offsets_without_anything_to_say_are_committed(world):
    sink = world.sink()
    sink.commit(world.commit(p1=7))
    assert world.seen() == ([], {1: 7})
    assert sink.figures["transactions"] == 1


def test_only_offsets_that_moved_are_sent(world):
    member = world.member()
    sink = world.sink(member)
    sink.commit(world.commit(p0=2, p1=2))
    member.commit([TopicPartition(world.records, 1, 9)])  # somebody else, to whom it went meanwhile
    sink.commit(world.commit(p0=3, p1=2, moved=["p0"]))
    assert world.seen() == ([], {0: 3, 1: 9})


def test_what_is_known_of_a_partition_that_is_elsewhere_and_did_not_move_does_no_harm(world):
    member = world.member()
    sink = world.sink(member)
    sink.commit(world.commit(p0=1, p1=5))
    member.owned = {f"{world.records}/0"}
    member.commit([TopicPartition(world.records, 1, 9)])  # the one that has it now
    for offset in (2, 3):
        sink.commit(world.commit(p0=offset, p1=5, moved=["p0"]))
    assert world.seen() == ([], {0: 3, 1: 9})


def test_nothing_is_committed_of_a_batch_with_rows_of_a_partition_that_went_elsewhere(world):
    member = world.member()
    sink = world.sink(member)
    member.owned = {f"{world.records}/0"}
    with pytest.raises(CommitAbortedError, match=rf"^{world.records}/1: somebody else's by now$"):
        sink.commit(world.commit([1], p0=1, p1=1))
    assert world.seen() == ([], {})
    sink.commit(world.commit([2], p0=1))
    assert world.seen() == ([2], {0: 1})
    assert (sink.figures["transactions"], sink.figures["aborted"], member.renewed) == (1, 1, 0)


@pytest.fixture
def regrouped(world):
    """A member of a group that began anew, its sink, and its membership before and after."""
    member = world.member(joined=True)
    before = member.group_metadata()
    other = Consumer(member.settings)
    other.subscribe([member.topic])
    deadline = time.monotonic() + 30
    while not other.assignment():
        assert time.monotonic() < deadline
        member.consumer.poll(0.05)
        other.poll(0.05)
    yield member, world.sink(member), before, member.group_metadata()
    other.close()


def test_a_commit_made_while_the_group_began_anew_is_made_again_for_the_membership_of_now(world, regrouped):
    member, sink, before, after = regrouped
    memberships = iter([before, before, after])
    member.group_metadata = lambda: next(memberships, after)
    sink.commit(world.commit([1], p0=2))
    assert world.seen() == ([1], {0: 2})
    assert (sink.figures["transactions"], sink.figures["aborted"], member.renewed) == (1, 0, 0)


def test_a_commit_that_hears_of_no_new_membership_is_rolled_back_after_a_second(world, regrouped):
    member, sink, before, after = regrouped
    member.group_metadata = lambda: before
    began = time.monotonic()
    with pytest.raises(CommitAbortedError, match=r"generation"):
        sink.commit(world.commit([1], p0=2))
    assert 1 <= time.monotonic() - began < 5
    member.group_metadata = lambda: after
    sink.commit(world.commit([2], p0=3))
    assert world.seen() == ([2], {0: 3})


def test_the_commit_of_a_member_that_the_group_put_out_is_rolled_back_and_the_next_one_works(world):
    member = world.member(joined=True)
    sink = world.sink(member)
    stale = member.group_metadata()
    member.renew()
    fresh, member.group_metadata = member.group_metadata, lambda: stale
    with pytest.raises(CommitAbortedError, match=r"^writing alerts: .*nknown member"):
        sink.commit(world.commit([1], p0=1))
    assert world.seen() == ([], {})
    member.group_metadata = fresh
    sink.commit(world.commit([2], p0=1))
    assert world.seen() == ([2], {0: 1})


def test_a_sink_that_was_fenced_starts_over_once_and_the_second_time_names_its_transactional_id(world):
    member = world.member()
    first = world.sink(member, name="pod-0")
    first.commit(world.commit([1], p0=1))
    second = world.sink(name="pod-0")
    with pytest.raises(StartOverError):
        first.commit(world.commit([2], p0=2))
    assert member.renewed == 1
    first.commit(world.commit([3], p0=2))
    with pytest.raises(StartOverError):
        second.commit(world.commit([4], p0=3))
    second.commit(world.commit([5], p0=3))
    with pytest.raises(
        UserError,
        match=r"^another process writes under the transactional id pod-0 too: "
        r"give each scorer its own \(state\.transactional_id\)$",
    ):
        first.commit(world.commit([6], p0=4))
    assert world.seen() == ([1, 3, 5], {0: 3})


def test_after_brokers_were_away_another_producer_goes_on_and_nothing_is_written_twice(world):
    sink = world.sink()
    sink.commit(world.commit(range(2), p0=2))
    writer = sink._writer
    cut_off, absence = writer._connection, writer._options.absence
    absence.begin()
    absence.end()
    sink.commit(world.commit(range(2, 4), p0=4))
    assert writer._connection is not cut_off
    assert (world.seen(), sink.figures["aborted"]) == (([0, 1, 2, 3], {0: 4}), 0)


def test_a_fence_is_forgotten_after_a_while_of_work(world, monkeypatch):
    monkeypatch.setattr("streamad_connectors.kafka.transactions._QUIET_SECONDS", 0)
    first = world.sink()
    for n in range(3):
        world.sink()
        with pytest.raises(StartOverError):
            first.commit(world.commit([100 + n], p0=n + 1))
        first.commit(world.commit([n], p0=n + 1))
    assert world.seen() == ([0, 1, 2], {0: 3})


def test_transactions_that_were_left_open_too_long_are_no_sign_of_another_process(world):
    writer = world.sink()._writer
    fenced = KafkaError(KafkaError._FENCED, fatal=True)
    began = [writer._undone(fenced, TRANSACTION_SECONDS) for _ in range(3)]
    assert [type(meant) for meant in began] == [StartOverError] * 3


def test_the_next_process_under_the_same_id_ends_what_a_dead_one_left_open(world):
    settings = {"bootstrap.servers": world.broker.bootstrap, "transactional.id": world.records}
    dead = Producer(settings)
    dead.init_transactions()
    dead.begin_transaction()
    dead.produce(world.topics.alerts, json.dumps(alert(0)), partition=0)
    dead.flush()
    world.sink().commit(world.commit([1], p0=1))
    assert world.seen() == ([1], {0: 1})


def test_an_alert_over_the_topics_limit_loses_its_largest_fields_and_says_so(broker, topics):
    names = topics({"records": 2, "alerts": 1, "rejected": 1, "candidates": 1}, max_message_bytes=20_000)
    world = World(broker, names)
    row = {
        **alert(1, {"a": 1, "wide": "é" * 9000, "b": "x" * 6000, "c": None}),
        "reasons": [
            {"field": "wide", "value": "é" * 9000, "share": 0.7},
            {"field": "a", "value": 1, "share": 0.1},
        ],
        "key": "k" * 2000,
    }
    fits = alert(2, {"b": "x" * 19_600})
    world.sink().commit(world.commit([row, fits], p0=2))
    assert [json.loads(record.value) for record in read_all(broker, names["alerts"])] == [
        {
            **row,
            "key": None,
            "reasons": [
                {"field": "wide", "value": None, "share": 0.7},
                {"field": "a", "value": 1, "share": 0.1},
            ],
            "record": {"a": 1, "b": "x" * 6000, "c": None},
            "truncated": True,
        },
        fits,
    ]


def test_a_rejected_payload_as_large_as_the_broker_takes_is_cut_so_that_it_passes(world):
    whole = os.urandom(1_048_588)
    bad = {
        "position": "r/0@0",
        "reason": "invalid_json",
        "field": None,
        "detail": "",
        "bytes_base64": base64.b64encode(whole).decode(),
        "length": len(whole),
        "sha256": "ab",
        "rejected_at": "",
    }
    world.sink().commit(Commit({}, 1, rejected=[bad] * 3))
    values = [record.value for record in read_all(world.broker, world.topics.rejected)]
    assert len({*values}) == 1
    assert values[0] == whole[: len(values[0])]
    assert (len(values), 1_048_000 < len(values[0]) < len(whole)) == (3, True)


def test_a_client_that_is_told_to_write_too_little_is_refused_by_its_own_setting(world):
    with pytest.raises(UserError) as refused:
        world.sink(client={"message.max.bytes": 10_000})
    assert str(refused.value) == (
        "the client setting message.max.bytes is 10000, too few for an alert: set 16384 or more, or leave it out"
    )


def test_a_topic_that_takes_less_since_the_start_is_written_smaller_messages(world):
    sink = world.sink()
    resource = ConfigResource(ConfigResource.Type.TOPIC, world.topics.alerts)
    resource.add_incremental_config(
        ConfigEntry("max.message.bytes", "100000", incremental_operation=AlterConfigOpType.SET)
    )
    client = admin(world.broker)
    client.incremental_alter_configs([resource])[resource].result()
    rows = [alert(n, {"wide": "x" * (200_000 if n else 300)}) for n in range(4)]
    aborted = 0
    while True:
        try:
            sink.commit(world.commit(rows, p0=1))
            break
        except CommitAbortedError:
            aborted += 1
    assert world.seen() == ([0, 1, 2, 3], {0: 1})
    assert 1 <= aborted <= 4


def test_a_full_queue_is_waited_for(world):
    sink = world.sink(client={"queue.buffering.max.messages": 10})
    sink.commit(world.commit(range(1000), p0=1))
    assert world.seen() == ([*range(1000)], {0: 1})


def test_at_least_once_writes_first_and_commits_then(world):
    def fail(_offsets):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    member = world.member()
    sink = world.sink(member, name=None)
    sink.commit(world.commit([1], p0=1))
    commit, member.commit = member.commit, fail
    with pytest.raises(CommitAbortedError):
        sink.commit(world.commit([2], p0=2))
    assert world.seen() == ([1, 2], {0: 1})
    member.commit = commit
    sink.commit(world.commit([2], p0=2))
    assert world.seen() == ([1, 2, 2], {0: 2})


def test_a_broker_that_does_not_answer_ends_a_commit_in_bounded_time_and_the_next_one_goes_on(
    world, monkeypatch
):
    for name in ("COMMIT_SECONDS", "REQUEST_SECONDS"):
        monkeypatch.setattr(f"streamad_connectors.kafka.transactions.{name}", 1.5)
    member = world.member()
    sink = world.sink(member)
    sink.commit(world.commit([1], p0=1))
    pid = getattr(world.broker, "pid", None) or pytest.skip("the broker is not ours")
    os.kill(pid, signal.SIGSTOP)
    try:
        member.renew = lambda: None  # it would wait, too
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(CommitAbortedError):
                sink.commit(world.commit([2], p0=2))
            assert time.monotonic() - began < 4
    finally:
        os.kill(pid, signal.SIGCONT)
    seconds = time.monotonic() + 20
    while True:
        try:
            sink.commit(world.commit([3], p0=2))
            break
        except CommitAbortedError:
            assert time.monotonic() < seconds
    assert world.seen() == ([1, 3], {0: 2})


def test_a_missing_topic_is_named_at_the_start(world):
    world.topics = world.topics._replace(candidates="nowhere")
    with pytest.raises(UserError, match=rf"^topic nowhere does not exist at {world.broker.bootstrap}$"):
        world.sink()


def test_missing_rights_on_the_transactional_id_and_on_a_topic_are_named_and_are_no_reason_to_try_again(
    world,
):
    if world.broker.secure_bootstrap is None:
        pytest.skip("STREAMAD_KAFKA names no listener with users")
    for topic in (world.topics.alerts, world.topics.rejected, world.topics.candidates):
        allow(world.broker, "scorer", ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    allow(world.broker, "scorer", ResourceType.GROUP, world.records, AclOperation.READ)
    allow(world.broker, "scorer", ResourceType.TOPIC, world.records, AclOperation.READ)
    login = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "scorer",
        "sasl.password": SecretStr(USERS["scorer"]),
    }
    options = KafkaClient(brokers=world.broker.secure_bootstrap, client=login)
    opening = {"topics": world.topics, "member": world.member(), "transactional_id": world.records}
    with pytest.raises(
        UserError,
        match=f"^writing alerts: the right Write on transactional id {world.records} is missing: give it to the user scorer$",
    ):
        open_sink(options, None, **opening).restore()
    allow(
        world.broker,
        "scorer",
        ResourceType.TRANSACTIONAL_ID,
        world.records,
        AclOperation.WRITE,
        AclOperation.DESCRIBE,
    )
    sink = open_sink(options, None, **opening)
    sink.restore()
    sink.commit(world.commit(p0=1))
    with pytest.raises(
        UserError,
        match=f"^writing to {world.topics.alerts}, {world.topics.rejected}, {world.topics.candidates}: "
        "the right Write on the topic is missing: give it to the user scorer$",
    ):
        sink.commit(world.commit([1], p0=2))
    assert world.seen() == ([], {0: 1})
