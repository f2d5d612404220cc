"""`streamad run --check` and `streamad trainer --check` on a real broker: each problem is told, and nothing is done."""

from __future__ import annotations

import json
import re
import time
import uuid
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from deploy_help import rights
from inputs_help import Feed
from kafka_broker import USERS
from kafka_topics import admin, allow, committed, delete_topics, make_topics, produce, read_all
from kafka_updates_help import files, promoted, wait_for_news
from streamad_connectors.kafka import check_roles, checking, connection
from streamad_connectors.kafka import topics as shapes
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.topics import Topics, create_missing

from streamad.job import Job
from streamad.ports import Commit, GivenLabel, Reference
from streamad.records.batch import Block
from streamad.wiring.cluster import member

pytestmark = pytest.mark.kafka

TOPIC, GROUP, ID = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
READ, WRITE = AclOperation.READ, AclOperation.WRITE
DESCRIBE, SETTINGS = AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS


class Cluster(Feed):
    """A feed in a cluster, under a name of its own, and its topic of records."""

    def __init__(self, folder, capsys, broker):
        super().__init__(folder, capsys)
        self.broker, self.name = broker, f"f{uuid.uuid4().hex[:8]}"
        self.records = make_topics(broker, {"records": 3})["records"]
        self.topics = Topics(*(f"{self.name}.{field}" for field in Topics._fields))
        self.source = {"type": "kafka", "brokers": broker.bootstrap, "topic": self.records}
        self.state = {"type": "kafka", "transactional_id": f"streamad-{self.name}-0"}
        self.configure()

    def configure(self, source=None, **state):
        self.write(feed=self.name, source=self.source | (source or {}), state=self.state | state)

    def as_user(self, user, **state):
        """The config at the listener that asks who it is."""
        if self.broker.secure_bootstrap is None:
            pytest.skip("the broker of STREAMAD_KAFKA has no users of ours")
        client = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": user}
        client["sasl.password"] = "${PASSWORD}"
        self.configure({"brokers": self.broker.secure_bootstrap, "client": client}, **state)

    def make(self, **settings):
        """Make the topics that are shared; `settings` are of one of them: labels={"retention.ms": "1000"}."""
        client = KafkaClient(brokers=self.broker.bootstrap)
        create_missing(
            connection.connect(client, AdminClient, {"bootstrap.servers": client.brokers}), self.topics
        )
        for field, changed in settings.items():
            name = getattr(self.topics, field)
            entries = [
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                for key, value in changed.items()
            ]
            client = admin(self.broker)
            asked = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
            (done,) = client.incremental_alter_configs([asked]).values()
            done.result(30)

    def rights(self, user):
        """What deploy/kafka-acls.md gives a user, for this feed in place of `conn`."""
        own = {"conn": self.records, "streamad-conn-scorer-": f"streamad-{self.name}-0"}
        return [
            (kind, own.get(name) or name.replace("conn", self.name), right)
            for kind, name, right in rights(user)
        ]

    def allow(self, user, *rights):
        for kind, name, *operations in rights:
            allow(self.broker, user, kind, name, *operations)

    def plain(self, said):
        """What was said with FEED and `records` for the names of this test."""
        for name, stands_for in ((self.records, "records"), (self.name, "FEED"), (f"{self.folder}/", "")):
            said = said.replace(name, stands_for)
        return said

    def found(self, command, code=0):
        """What was found, as sets of sentences by their kind; names are given back as FEED and `records`."""
        said = self.plain(self.call(command, "--check", code=code).out)
        rows = [json.loads(line) for line in said.splitlines()]
        return {
            kind: {row["text"] for row in rows if row["found"] == kind}
            for kind in {row["found"] for row in rows}
        }

    def close(self):
        client = admin(self.broker)
        there = client.list_topics(timeout=30).topics
        delete_topics(self.broker, [name for name in (self.records, *self.topics) if name in there])


@pytest.fixture
def cluster(tmp_path, capsys, broker, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Cluster(tmp_path, capsys, broker)
    yield made
    made.close()


def topics_and_groups(cluster):
    """All that a check could leave behind at a broker."""
    client = admin(cluster.broker)
    groups = client.list_consumer_groups().result(30).valid
    topics = {
        name for name in client.list_topics(timeout=30).topics if not name.startswith("__")
    }  # a broker's own
    return topics, {group.group_id for group in groups}


def in_order(*words):
    return f"rights: {', '.join(words)}"


@contextmanager
def closing_all(parts):
    try:
        yield parts
    finally:
        for part in parts:
            part.close()


TEMPTED = (
    "the user {} may write topics FEED.models and FEED.control, as no scorer needs to: who takes a scorer over could "
    "decide what all of them see; give Write there to the trainer's user alone"
)
ANYBODY = TEMPTED.replace("the user {}", "the user that streamad connects as")


def test_topics_that_would_be_made_are_told_and_nothing_is_done(cluster):
    cluster.configure(create_topics=True)
    before = topics_and_groups(cluster)
    well = cluster.found("run")["ok"]
    assert {f"topic FEED.{field}: is missing, and will be made" for field in Topics._fields} <= well
    assert well == cluster.found("run")["ok"]
    assert topics_and_groups(cluster) == before


def test_what_is_well_is_listed_for_each_role(cluster):
    cluster.make()
    before = topics_and_groups(cluster)
    there = "topics FEED.alerts, FEED.rejected, FEED.candidates, FEED.labels, FEED.models, FEED.control: "
    reached = f"brokers {cluster.broker.bootstrap}: reached by the user that streamad connects as"
    both = {
        "config net.yaml: feed FEED, 2 features",
        "detector dp_vae: on the cpu",
        reached,
        "topic records: 3 partitions",
        "rights: Read on records",
        f"{there}there, and as they must be",
    }
    run = {
        "group streamad-FEED: Read",
        in_order(
            *(f"Write on FEED.{name}" for name in ("alerts", "rejected", "candidates")),
            *(f"Read on FEED.{name}" for name in ("labels", "control", "models")),
        ),
        "messages: alerts of up to 1,048,588 bytes; the record of a larger one is cut",
        "transactional id streamad-FEED-0: Write",
    }
    trainer = {
        "group streamad-FEED-trainer: Read",
        in_order(
            *(
                f"{right} on FEED.{name}"
                for name in ("labels", "control", "models")
                for right in ("Read", "Write")
            )
        ),
        "messages: models of up to 2,048 MiB",
        "transactional id streamad-FEED-trainer: Write",
    }
    assert cluster.found("run") == {"ok": both | run, "warning": {ANYBODY}}
    assert cluster.found("trainer") == {"ok": both | trainer}
    cluster.configure(delivery="at_least_once")
    assert cluster.found("run")["ok"] == both | run - {"transactional id streamad-FEED-0: Write"}
    assert topics_and_groups(cluster) == before


@pytest.mark.parametrize(("command", "user"), [("run", "scorer"), ("trainer", "trainer")])
def test_every_right_that_is_missing_is_told_and_those_of_the_page_are_enough(
    cluster, monkeypatch, command, user
):
    monkeypatch.setenv("PASSWORD", USERS[user])
    cluster.as_user(user)
    cluster.make()
    seen = [(TOPIC, name, DESCRIBE, SETTINGS) for name in (*cluster.topics, cluster.records)]
    cluster.allow(user, *seen)
    words = {TOPIC: "topic", GROUP: "group", ID: "transactional id", READ: "Read", WRITE: "Write"}
    expected = {
        cluster.plain(
            f"the right {words[right]} on {words[kind]} {name} is missing: give it to the user {user}"
        )
        for kind, name, right in cluster.rights(user)
        if right in words
    }
    assert cluster.found(command, code=2)["problem"] == expected
    cluster.allow(user, *cluster.rights(user))
    assert {*cluster.found(command)} == {"ok"}
    if user == "scorer":
        cluster.allow(
            user, *((TOPIC, name, WRITE) for name in (cluster.topics.models, cluster.topics.control))
        )
        assert cluster.found(command)["warning"] == {TEMPTED.format(user)}


def opened(cluster, verb):
    """What a process of the cluster works with."""
    one = member(Job("run", cluster.path))
    return getattr(one.plugin, verb)(one.state, one.source, one.context)


def rows_of(source, count, seconds=30):
    """The cursors behind so many rows."""
    cursors, deadline = {}, time.monotonic() + seconds
    while count:
        got = source.poll(count, 0.1)
        if isinstance(got, Block):
            cursors |= got.cursors
            count -= len(got)
        assert time.monotonic() < deadline, "no rows came"
    return cursors


def test_the_rights_of_the_page_are_enough_for_a_scorer(cluster, monkeypatch):
    monkeypatch.setenv("PASSWORD", USERS["scorer"])
    cluster.as_user("scorer")
    cluster.make()
    cluster.allow("scorer", *cluster.rights("scorer"))
    produce(cluster.broker, cluster.records, ["{}"] * 4)
    with closing_all(opened(cluster, "open_scorer")) as (source, sink, updates):
        assert (sink.restore(), updates.poll()) == (None, [])
        cursors = rows_of(source, 4)
        alerts = [{"event_id": "a", "key": None, "reasons": [], "record": {}}]
        sink.commit(Commit(cursors, 4, alerts=alerts))
        ends = {int(name[-1]): cursor["offset"] for name, cursor in cursors.items()}
        there = committed(cluster.broker, f"streamad-{cluster.name}", cluster.records)
        assert there == dict.fromkeys(there, 0) | ends  # and where reading began in what has no records
        assert [json.loads(row.value) for row in read_all(cluster.broker, cluster.topics.alerts)] == alerts


def test_the_rights_of_the_page_are_enough_for_a_trainer(cluster, monkeypatch):
    monkeypatch.setenv("PASSWORD", USERS["trainer"])
    cluster.as_user("trainer")
    cluster.make()
    cluster.allow("trainer", *cluster.rights("trainer"))
    produce(cluster.broker, cluster.records, ["{}"] * 4, 1)
    with closing_all(opened(cluster, "open_trainer")) as (source, updates, publisher, lookup):
        assert publisher.wait_until_active(30)
        publisher.publish(1, files(1))
        publisher.calibrate(Reference(1, 0.5, b"arrays"))
        publisher.complete({"event_id": "a"})
        publisher.promote(1)
        news = wait_for_news(updates, 3)
        assert GivenLabel(0, {"event_id": "a"}) in news
        assert promoted(1) in news
        rows_of(source, 4)
        assert lookup.payload(f"{cluster.records}/1@3").payload(0) == b"{}"


def test_who_may_see_nothing_is_told_what_to_ask_for(cluster, monkeypatch):
    monkeypatch.setenv("PASSWORD", USERS["nobody"])
    cluster.as_user("nobody", create_topics=True)
    problems = cluster.found("run", code=2)["problem"]
    refused = "is missing and cannot be made: Authorization failed."
    assert problems == {
        "the right Describe on topic records, which Read and Write bring along, is missing: give it to the user nobody",
        *(f"topic FEED.{field} {refused}" for field in Topics._fields),
        "the right Write on transactional id streamad-FEED-0 is missing: give it to the user nobody",
    }


def test_topics_of_a_wrong_shape_are_told_with_what_to_set(cluster):
    cluster.make(
        labels={"retention.ms": "1000"},
        models={"max.message.bytes": "65536"},
        control={"cleanup.policy": "delete"},
        alerts={"max.message.bytes": "5000"},
    )
    lost = "which would lose models in force: set cleanup.policy=compact"
    wrong = {
        "topic FEED.labels has retention.ms=1000, which would lose labels: set retention.ms=-1",
        "topic FEED.models has max.message.bytes=65536, too few for parts of a model: set max.message.bytes=1048576",
        f"topic FEED.control has cleanup.policy=delete, {lost}",
    }
    small = "topic FEED.alerts takes no messages of 16384 bytes, too small for an alert: set its max.message.bytes higher"
    assert cluster.found("run", code=2)["problem"] == wrong | {small}
    assert cluster.found("trainer", code=2)["problem"] == wrong


def test_topics_that_somebody_else_makes_at_the_same_moment_are_no_trouble(cluster, monkeypatch):
    cluster.make()
    monkeypatch.setattr(shapes, "missing", lambda *_: [*cluster.topics])
    cluster.make()
    assert "problem" not in cluster.found("trainer")


def test_a_client_that_writes_too_little_at_once_is_told(cluster):
    cluster.make()
    cluster.configure(client={"message.max.bytes": 20_000})
    sentence = (
        "the client setting message.max.bytes is 20000, too few for parts of a model: set 131072 or more, or leave it "
        "out"
    )
    assert cluster.found("trainer", code=2)["problem"] == {sentence}
    assert (
        "messages: alerts of up to 20,000 bytes; the record of a larger one is cut"
        in cluster.found("run")["ok"]
    )


def test_topics_that_are_missing_are_told_with_how_to_make_them(cluster):
    cluster.configure({"topic": "nothere"})
    problems = cluster.found("run", code=2)["problem"]
    records = f"topic nothere does not exist at {cluster.broker.bootstrap}: make it, or mend source.topic"
    labels = (
        "topic FEED.labels does not exist, or may not be seen: make it with 1 partition and cleanup.policy=delete, "
        "retention.ms=-1, retention.bytes=-1, or give the right Describe on it"
    )
    assert {records, labels} <= problems
    assert len(problems) == 7


@pytest.mark.parametrize("more", [("--check",), ()])
def test_a_scorer_may_not_take_the_name_of_the_trainer(cluster, more):
    cluster.make()
    trainer = f"streamad-{cluster.name}-trainer"
    cluster.configure(transactional_id=trainer)
    assert cluster.call("run", *more, code=2).err == (
        f"streamad: state.transactional_id: {trainer} is the trainer's, which a scorer under it would silence: give each "
        "scorer its own\n"
    )


def test_a_scorer_under_way_does_not_notice_a_check(cluster):
    cluster.make()
    name = f"streamad-{cluster.name}-0"
    scorer = Producer({"bootstrap.servers": cluster.broker.bootstrap, "transactional.id": name})
    scorer.init_transactions(30)
    scorer.begin_transaction()
    scorer.produce(cluster.topics.alerts, "one")
    scorer.flush(30)
    assert "transactional id streamad-FEED-0: Write" in cluster.found("run")["ok"]
    scorer.produce(cluster.topics.alerts, "two")
    scorer.commit_transaction(30)


def test_two_clusters_under_one_transaction_are_a_problem(cluster, monkeypatch):
    cluster.make()
    reached = check_roles.reached

    def elsewhere(client, folder):
        other = SimpleNamespace(list_topics=lambda **_: SimpleNamespace(cluster_id="another"))
        return SimpleNamespace(client=other) if client.brokers == "localhost:1" else reached(client, folder)

    monkeypatch.setattr(check_roles, "reached", elsewhere)
    monkeypatch.setattr(check_roles, "check_reading", lambda _: [])
    cluster.configure({"brokers": "localhost:1"}, brokers=cluster.broker.bootstrap)
    (sentence,) = cluster.found("run", code=2)["problem"]
    assert sentence.startswith(
        "source.brokers and state.brokers are two clusters, and no transaction reaches over"
    )
    cluster.configure({"brokers": "localhost:1"}, brokers=cluster.broker.bootstrap, delivery="at_least_once")
    assert "problem" not in cluster.found("run")


def test_on_one_machine_the_group_and_the_topic_of_a_config_are_looked_at(cluster):
    cluster.write(feed=cluster.name, source=cluster.source)
    well = cluster.found("run")["ok"]
    assert {"topic records: 3 partitions", "rights: Read on records", "group streamad-FEED: Read"} <= well


@pytest.mark.parametrize("command", [("run", "--check"), ("run",), ("trainer",), ("status",)])
def test_wrong_credentials_and_brokers_that_do_not_answer_end_what_needs_them(cluster, monkeypatch, command):
    monkeypatch.setattr(checking, "check_reachable", partial(connection.check_reachable, seconds=1.0))
    monkeypatch.setenv("PASSWORD", "wrong-one")
    cluster.as_user("scorer")
    said = cluster.call(*command, code=2).err
    assert re.search(r"^streamad: Kafka at \S+ refuses the credentials: ", said, re.MULTILINE)
    cluster.configure({"brokers": "127.0.0.1:1"})
    said = cluster.call(*command, code=3).err
    assert re.search(r"^streamad: no Kafka broker at 127\.0\.0\.1:1 answered ", said, re.MULTILINE)
