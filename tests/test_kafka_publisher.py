"""What the active trainer says on the topics: whole or not at all, and nobody else."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from kafka_broker import USERS, Borrowed, Broker
from kafka_java import free_ports
from kafka_topics import allow, end_offsets, produce, read_all
from kafka_updates_help import (
    HERE,
    active,
    change,
    feed_of,
    files,
    first_news,
    new_topics,
    promoted,
    publisher,
    reading,
    topics_named,
    wait_for_news,
)
from processes import say
from pydantic import SecretStr
from streamad_connectors.kafka.connection import check_reachable
from streamad_connectors.kafka.publisher import KafkaPublisher
from streamad_connectors.kafka.settings import KafkaClient

from streamad.errors import CommitAbortedError, NumberTakenError, StoreError, UserError, WorldError
from streamad.ports import GivenLabel, Promoted, Reference

pytestmark = pytest.mark.kafka


def keys(broker, topic, **more):
    return [record.key.decode() for record in read_all(broker, topic, **more)]


def test_three_megabytes_come_back_from_chunks_that_the_topic_takes(broker, names):
    with active(broker, names) as trainer:
        assert trainer.last_version() == 0
        trainer.publish(7, files(7, 3_000_000))
        assert trainer.last_version() == 7
    chunks = read_all(broker, names.models)
    assert [(chunk.key, len(chunk.value)) for chunk in chunks[:6]] == [
        (b"000007/%d" % n, min(512 << 10, 3_000_000 - n * (512 << 10))) for n in range(6)
    ]
    assert keys(broker, names.control) == ["version/000007", "promoted"]
    assert first_news(broker, names) == [promoted(7, 3_000_000)]


def test_chunks_are_as_small_as_the_topic_wants_them(broker, names):
    change(broker, names.models, "max.message.bytes", 140_000)
    with active(broker, names) as trainer:
        trainer.publish(1, files(1, 500_000))
    assert max(len(chunk.value) for chunk in read_all(broker, names.models)) == 140_000 - 4096
    assert first_news(broker, names) == [promoted(1, 500_000)]


def test_what_nobody_would_take_is_refused_before_a_word_is_said(broker, names):
    with active(broker, names, limit=1000) as trainer:
        for given, reason in (
            (
                {"../up": b"x"},
                "it has a file that is none of manifest.json, manifest.sha256, tensors.safetensors",
            ),
            (files(1, 2000), "its number of bytes is no number from 1 to 1000"),
        ):
            with pytest.raises(StoreError) as refused:
                trainer.publish(1, given)
            assert str(refused.value) == f"publishing version 1: {reason}"
        with pytest.raises(StoreError, match="version is no number from 1 to 999999999"):
            trainer.publish(10**9, files(1, 10))
    assert end_offsets(broker, names.models) == end_offsets(broker, names.control) == {0: 0}


def test_after_a_failure_in_the_middle_nothing_is_seen_and_the_number_is_free(broker, names, monkeypatch):
    with active(broker, names) as trainer:
        with monkeypatch.context() as patch:
            patch.setattr(trainer, "_news", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                trainer.publish(1, files(1, 2_000_000))
        assert len(read_all(broker, names.models, "read_uncommitted")) == 6
        assert read_all(broker, names.models) == []
        assert first_news(broker, names) == []
        trainer.publish(1, files(2))
        assert first_news(broker, names) == [Promoted(1, files(2))]


KILLED = """
import sys, time
from pathlib import Path
from kafka_updates_help import active, files
from streamad_connectors.kafka.topics import Topics
from streamad_connectors.kafka.voice import Voice
from kafka_broker import Borrowed
say = Voice.say
def stop_behind_control(self, topic, messages):
    offsets = say(self, topic, messages)
    if topic.endswith("control"):
        print("said", flush=True)
        time.sleep(60)
    return offsets
Voice.say = stop_behind_control
with active(Borrowed(sys.argv[1]), Topics(*sys.argv[2:])) as trainer:
    trainer.publish(1, files(1, 2_000_000))
"""


def test_of_a_trainer_killed_before_its_commit_nothing_is_seen_and_another_takes_over(broker, names):
    command = [sys.executable, "-c", KILLED, broker.bootstrap, *names]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout.readline() == "said\n"
        trainer.kill()
    began = time.monotonic()
    assert len(read_all(broker, names.control, "read_uncommitted")) == 2
    assert first_news(broker, names) == []
    with active(broker, names) as other:
        seconds = time.monotonic() - began
        say(f"trainer killed with -9: another is active after {seconds:.1f} s")
        assert seconds < 15
        assert other.last_version() == 0
        other.publish(1, files(2))
    assert first_news(broker, names) == [Promoted(1, files(2))]


def test_one_trainer_is_active_and_the_next_is_when_it_has_gone(broker, names):
    first, second = publisher(broker, names), publisher(broker, names)
    assert first.wait_until_active(20)
    assert not second.wait_until_active(1)
    assert first.wait_until_active(0)
    with pytest.raises(
        CommitAbortedError, match=f"not the active one, who speaks as streamad-{feed_of(names)}-trainer"
    ):
        second.publish(1, files(1))
    first.publish(1, files(1))
    first.close()
    began = time.monotonic()
    assert second.wait_until_active(20)
    say(f"trainer closed: another is active after {time.monotonic() - began:.1f} s")
    assert second.last_version() == 1
    second.close()


@pytest.fixture
def usurper(broker, names, monkeypatch):
    """Takes up the name of the active trainer, which has not heard of it: as after a sleep longer than its session."""
    other = publisher(broker, names)
    monkeypatch.setattr(other._ownership, "owned", lambda _timeout: True)
    monkeypatch.setattr(other._ownership, "confirmed", lambda: True)
    yield other
    other.close()


VERBS = {
    "publish": (2, files(2)),
    "promote": (1,),
    "calibrate": (Reference(1, 0.5, b"x"),),
    "complete": ({"event_id": "f/t/0@1", "label": "normal"},),
}


@pytest.mark.parametrize("verb", VERBS)
def test_who_was_replaced_unheard_can_say_nothing(broker, names, usurper, verb):
    with active(broker, names) as trainer:
        trainer.publish(1, files(1))
        assert usurper.wait_until_active(0)
        with pytest.raises(
            CommitAbortedError, match=rf"streamad-{feed_of(names)}-trainer is not ours any more"
        ):
            getattr(trainer, verb)(*VERBS[verb])
        usurper.publish(3, files(3))
        with pytest.raises(CommitAbortedError, match="is not the active one"):
            getattr(trainer, verb)(*VERBS[verb])
    assert first_news(broker, names) == [promoted(3)]
    assert keys(broker, names.models) == [
        "000001/0",
        "000001/1",
        "000001/2",
        "000003/0",
        "000003/1",
        "000003/2",
    ]


def test_who_is_replaced_in_the_middle_of_a_publish_leaves_nothing(broker, names, usurper, monkeypatch):
    with active(broker, names) as trainer:
        news = trainer._news

        def replaced(*arguments):
            assert usurper.wait_until_active(0)
            usurper.publish(1, files(9))
            return news(*arguments)

        monkeypatch.setattr(trainer, "_news", replaced)
        with pytest.raises(
            CommitAbortedError, match=rf"streamad-{feed_of(names)}-trainer is not ours any more"
        ):
            trainer.publish(1, files(1))
        monkeypatch.undo()
        assert trainer.wait_until_active(20)  # it is still the owner, and takes its name up again
        with pytest.raises(NumberTakenError, match="version 1 is there already"):
            trainer.publish(1, files(1))
    assert first_news(broker, names) == [Promoted(1, files(9))]


def test_a_trainer_goes_back_to_what_is_kept_and_no_further(broker, names):
    with active(broker, names, keep_versions=2) as trainer, reading(broker, names) as updates:
        updates.poll()
        for version in (1, 2, 3):
            trainer.publish(version, files(version))
            assert wait_for_news(updates) == [promoted(version)]
        trainer.promote(2)
        assert wait_for_news(updates) == [promoted(2)]
        with pytest.raises(UserError) as removed:
            trainer.promote(1)
        assert str(removed.value) == "version 1 is not kept: these are: 2, 3"
        trainer.publish(4, files(4))
        assert wait_for_news(updates) == [promoted(4)]
        trainer.promote(2)  # the one in force until now is kept too
        assert wait_for_news(updates) == [promoted(2)]
    assert first_news(broker, names) == [promoted(2)]


def test_what_is_not_kept_is_removed_by_tombstones_for_its_chunks_and_its_description(broker, names):
    with active(broker, names, keep_versions=1) as trainer:
        for version in (1, 2, 3):
            trainer.publish(version, files(version))
    gone = [
        record.key
        for topic in (names.models, names.control)
        for record in read_all(broker, topic)
        if not record.value
    ]
    assert gone == [b"000001/0", b"000001/1", b"000001/2", b"version/000001"]
    with active(broker, names, keep_versions=1) as other:
        with pytest.raises(UserError, match="version 1 is not kept: these are: 2, 3"):
            other.promote(1)
        other.promote(2)
        with pytest.raises(NumberTakenError, match="version 3 is there already"):
            other.publish(1, files(1))


def test_a_label_is_said_again_with_its_record_and_a_version_gets_its_reference(broker, names):
    produce(broker, names.labels, [b'{"event_id": "f/t/0@1", "label": "anomaly"}'])
    complete = {"event_id": "f/t/0@1", "label": "anomaly", "record": {"x": 1.5, "text": "\ud800 ü"}}
    with active(broker, names) as trainer:
        trainer.publish(1, files(1))
        trainer.calibrate(Reference(1, 0.1 + 0.2, b"\x00\n" * 200_000))
        trainer.complete(complete)
    label, again, version, reference = first_news(broker, names)
    assert label == GivenLabel(0, {"event_id": "f/t/0@1", "label": "anomaly"})
    assert again == GivenLabel(1, complete)
    assert version == promoted(1)
    assert reference == Reference(1, 0.1 + 0.2, b"\x00\n" * 200_000)


def test_a_reference_that_no_message_holds_is_refused_with_its_size(broker, names):
    with active(broker, names) as trainer:
        with pytest.raises(
            StoreError, match=rf"a message of 15\d{{5}} bytes is more than topic {names.control}, or"
        ):
            trainer.calibrate(Reference(1, 0.5, bytes(1_500_000)))
        change(broker, names.control, "max.message.bytes", 200_000)
        with pytest.raises(
            StoreError, match=rf"a message of 30\d{{4}} bytes is more than topic {names.control}, or"
        ):
            trainer.calibrate(Reference(1, 0.5, bytes(300_000)))
        trainer.calibrate(Reference(1, 0.5, bytes(3)))
    assert keys(broker, names.control) == ["reference"]


def test_without_a_broker_waiting_ends_with_a_sentence(monkeypatch):
    (port,) = free_ports(1)
    soon = partial(check_reachable, seconds=1)
    monkeypatch.setattr("streamad_connectors.kafka.ownership.check_reachable", soon)
    nobody = publisher(Borrowed(f"127.0.0.1:{port}"), topics_named("feed"))
    with pytest.raises(WorldError, match=rf"no Kafka broker at 127.0.0.1:{port} answered within 1 s"):
        nobody.wait_until_active(0)
    nobody.close()


@pytest.mark.slow
def test_a_broker_that_dies_is_waited_for_within_a_bound_and_then_all_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("streamad_connectors.kafka.voice.PATIENCE", 3.0)
    monkeypatch.setattr("streamad_connectors.kafka.topic_reader.PATIENCE", 3.0)
    with Broker(tmp_path, properties={"broker.session.timeout.ms": 3000}) as mine, new_topics(mine) as names:
        with active(mine, names) as trainer, reading(mine, names) as updates:
            trainer.publish(1, files(1))
            assert wait_for_news(updates) == [promoted(1)]  # the marker of a commit may come a moment later
            mine.kill()
            began = time.monotonic()
            with pytest.raises(WorldError, match=r"no Kafka broker at .* answered within 3 s"):
                trainer.publish(2, files(2))
            with pytest.raises(WorldError, match="publishing the calibration of version 1: "):
                trainer.calibrate(Reference(1, 0.1, b""))
            assert time.monotonic() - began < 15
            assert updates.poll() == []
            mine.start()
            assert trainer.wait_until_active(30)
            trainer.publish(2, files(22))
            assert wait_for_news(updates) == [Promoted(2, files(22))]
        assert first_news(mine, names) == [Promoted(2, files(22))]


def test_a_right_that_is_missing_is_named(broker, names):
    if broker.secure_bootstrap is None:
        pytest.skip("STREAMAD_KAFKA names no listener with users")
    login = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": "trainer"}
    password = {"sasl.password": SecretStr(USERS["trainer"])}
    user = KafkaClient(brokers=broker.secure_bootstrap, client=login | password)
    name = f"streamad-{feed_of(names)}-trainer"
    rights = [
        (ResourceType.TOPIC, names.control, AclOperation.READ, "Describe on topic .*"),
        (ResourceType.GROUP, name, AclOperation.READ, "Read on group .*"),
        (ResourceType.TRANSACTIONAL_ID, name, AclOperation.WRITE, f"Write on transactional id {name}"),
        (ResourceType.TOPIC, names.models, AclOperation.WRITE, f"Write on topic {names.models}"),
        (ResourceType.TOPIC, names.control, AclOperation.WRITE, f"Write on topic {names.control}"),
    ]
    for kind, resource, operation, lacking in rights:
        with pytest.raises(UserError, match=f"the right {lacking}.* is missing: give it to the user trainer"):
            publish_as(user, names)
        allow(broker, "trainer", kind, resource, operation)
    publish_as(user, names)
    assert first_news(broker, names) == [promoted(1)]


def publish_as(user, names):
    trainer = KafkaPublisher(user, HERE, names, feed_of(names), keep_versions=1)
    try:
        assert trainer.wait_until_active(20)
        trainer.publish(1, files(1))
    finally:
        trainer.close()
