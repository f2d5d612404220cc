"""What scorers and trainers read of a cluster's news: all of it, in order, and nothing that is not sound."""

from __future__ import annotations

import json
import time
from functools import partial

import pytest
from confluent_kafka import Producer
from kafka_broker import Borrowed
from kafka_java import free_ports
from kafka_topics import delete_topics, produce, read_all
from kafka_updates_help import (
    HERE,
    active,
    admin_connection,
    change,
    files,
    first_news,
    options,
    promoted,
    reading,
    topics_named,
    wait_for_news,
)
from processes import say
from streamad_connectors.kafka.chunks import describe, to_json
from streamad_connectors.kafka.connection import check_reachable
from streamad_connectors.kafka.control import PROMOTED, write_description, write_reference
from streamad_connectors.kafka.topics import check, create_missing
from streamad_connectors.kafka.updates import KafkaUpdates
from structlog.testing import capture_logs

from streamad.errors import UserError, WorldError
from streamad.ports import GivenLabel, Reference

pytestmark = pytest.mark.kafka

KEY = b"a key that nobody knows"
LATER = 10**15
"""The order of a message that nobody has said before."""


def label(number, verdict):
    return {"event_id": f"f/t/0@{number}", "label": verdict}


def give(broker, names, *labels):
    produce(broker, names.labels, [json.dumps(given).encode() for given in labels])


def control(broker, names, *values, key=PROMOTED):
    produce(broker, names.control, values, keys=[key] * len(values))


def warnings(logs, event="update_ignored"):
    return [(log["what"], log["version"], log["reason"]) for log in logs if log["event"] == event]


# ---- what there is


def test_a_fresh_reader_is_told_at_once_of_all_labels_the_version_in_force_and_its_newest_reference(
    broker, names
):
    given = [label(n % 7, verdict) for n, verdict in enumerate(["anomaly", "normal", "withdrawn"] * 1000)]
    give(broker, names, *given)
    with active(broker, names) as trainer:
        for version in (1, 2, 3):
            trainer.publish(version, files(version))
            trainer.calibrate(Reference(version, 0.1, b"old"))
            trainer.calibrate(Reference(version, 0.2, b"new"))
        trainer.promote(2)
        trainer.calibrate(Reference(2, 0.3, b"newest"))
    with reading(broker, names) as updates:
        news = updates.poll()
        assert updates.poll() == []
    assert news[:-2] == [GivenLabel(n, verdict) for n, verdict in enumerate(given)]
    assert news[-2:] == [promoted(2), Reference(2, 0.3, b"newest")]


def test_nothing_yet_is_no_news_and_ends_at_once(broker, names):
    assert first_news(broker, names) == []


def test_a_corrected_verdict_comes_behind_the_first_in_every_reader(broker, names):
    with reading(broker, names) as early:
        assert early.poll() == []
        give(broker, names, label(1, "anomaly"), label(2, "normal"))
        assert [news.label["label"] for news in wait_for_news(early, 2)] == ["anomaly", "normal"]
        give(broker, names, label(1, "normal"))
        assert wait_for_news(early) == [GivenLabel(2, label(1, "normal"))]
    assert [news.label for news in first_news(broker, names)] == [
        label(1, "anomaly"),
        label(2, "normal"),
        label(1, "normal"),
    ]


def test_what_is_no_label_is_passed_over_counted_and_told_once(broker, names):
    values = [None, b"", b"no json", b"[1]", b"\xff\xfe", b'{"event_id": NaN}', b"[" * 100_000]
    produce(broker, names.labels, [*values, b'{"event_id": "f/t/0@1"}', *values])
    with capture_logs() as logs, reading(broker, names) as updates:
        assert updates.poll() == [GivenLabel(len(values), {"event_id": "f/t/0@1"})]
        produce(broker, names.labels, [b"no json", b"{}"])
        assert wait_for_news(updates) == [GivenLabel(2 * len(values) + 2, {})]
    told = [(log["count"], log["number"]) for log in logs if log["event"] == "labels_skipped"]
    assert told == [(2 * len(values), 0)]


def test_an_open_transaction_on_the_labels_holds_up_later_ones_but_not_the_reader(broker, names):
    give(broker, names, label(1, "normal"))
    other = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": names.labels})
    other.init_transactions()
    other.begin_transaction()
    other.produce(names.labels, json.dumps(label(2, "normal")))
    other.flush()
    give(broker, names, label(3, "normal"))
    with reading(broker, names) as updates:
        assert updates.poll() == [GivenLabel(0, label(1, "normal"))]
        other.abort_transaction()
        assert wait_for_news(updates) == [GivenLabel(2, label(3, "normal"))]


# ---- how soon


def test_a_megabyte_is_there_within_two_seconds_a_label_within_one_and_no_poll_waits(broker, names):
    with active(broker, names) as trainer, reading(broker, names) as updates:
        updates.poll()
        artifacts, labels = [], []
        for version in range(1, 6):
            given = files(version, 1_000_000)
            began = time.monotonic()
            trainer.publish(version, given)
            published = time.monotonic()
            assert wait_for_news(updates) == [promoted(version, 1_000_000)]
            artifacts.append((published - began, time.monotonic() - published))
            producer = Producer({"bootstrap.servers": broker.bootstrap})
            producer.produce(names.labels, json.dumps(label(version, "normal")))
            producer.flush()
            began = time.monotonic()
            assert wait_for_news(updates)[0].label == label(version, "normal")
            labels.append(time.monotonic() - began)
        trainer.publish(6, files(6, 20_000_000))
        polls, news = [], []
        while not news:
            began = time.monotonic()
            news = updates.poll()
            polls.append(time.monotonic() - began)
            time.sleep(0.002)
        assert news == [promoted(6, 20_000_000)]
    say(
        f"1 MB, seconds to publish and then to read: {[tuple(round(s, 3) for s in pair) for pair in artifacts]}"
    )
    say(f"a label, seconds from its delivery to its reading: {[round(s, 3) for s in labels]}")
    say(f"20 MB: {len(polls)} polls meanwhile, the longest of {max(polls):.3f} s")
    assert max(sum(pair) for pair in artifacts) < 2
    assert max(labels) < 1
    assert max(polls) < 0.5


# ---- what is not sound


def test_of_a_version_that_is_damaged_or_gone_one_warning_is_given_and_the_one_before_stays(
    broker, names, monkeypatch
):
    monkeypatch.setattr("streamad_connectors.kafka.fetching._SETTLING", 0.3)
    with active(broker, names) as trainer:
        trainer.publish(1, files(1))
    sound = files(1)
    value = describe(2, sound, [0, 1, 2])
    bad = {
        2: ([0, 1, 1], "its chunks hold fewer bytes than were described"),
        3: ([0, 0, 0], "its chunks hold more bytes than were described"),
        4: ([0, 2, 1], "it does not have its checksum"),
        5: ([0, 1, 3], "a chunk of it is not there"),  # the end of the transaction, and of the topic
        6: ([0, 1, 10**15], "a chunk of it is not there"),
    }
    with reading(broker, names) as updates:
        assert updates.poll() == [promoted(1)]
        with capture_logs() as logs:
            for version, (offsets, _) in bad.items():
                damaged = value._replace(version=version, offsets=tuple(offsets))
                control(broker, names, write_description("promoted", damaged, None, LATER))
                wait_for_warning(updates, logs, version)
        assert warnings(logs) == [("promotion", version, reason) for version, (_, reason) in bad.items()]
    with capture_logs() as logs:
        assert first_news(broker, names) == [promoted(1)]
    assert [version for _, version, _ in warnings(logs)] == [6, 5, 4, 3, 2]


def wait_for_warning(updates, logs, version):
    deadline = time.monotonic() + 10
    while version not in [known for _, known, _ in warnings(logs)]:
        assert updates.poll() == []
        assert time.monotonic() < deadline, "no warning"
        time.sleep(0.002)


def test_a_chunk_that_compaction_removed_is_noticed(broker, names):
    with active(broker, names) as trainer:
        trainer.publish(1, files(1))
        trainer.publish(2, files(2))
    kept = [record.offset for record in read_all(broker, names.models)]
    assert kept == [0, 1, 2, 4, 5, 6]  # as compaction does, the end of a transaction leaves a gap
    gone = describe(3, files(1), [0, 1, 2])._replace(offsets=(0, 1, 3))
    control(broker, names, write_description("promoted", gone, None, LATER))
    with capture_logs() as logs:
        assert first_news(broker, names) == [promoted(2)]
    assert warnings(logs) == [("promotion", 3, "a chunk of it was removed")]


def test_hostile_messages_on_control_never_stop_a_reader(broker, names):
    tree = to_json(describe(9, files(1), [0, 1, 2]))
    hostile = [
        b"",
        b"no json",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        *(
            json.dumps(tree | {"format": 1, "kind": "promoted"} | change).encode()
            for change in (
                {"version": -1},
                {"version": 10**40},
                {"bytes": 10**18},
                {"chunks": [[0, -5]]},
                {"chunks": [[4, 0], [0, 1], [0, 2]]},
                {"files": [["../../etc/passwd", 1, "0" * 64]]},
                {"kind": "reference"},
                {"format": 2},
            )
        ),
    ]
    reference = write_reference(Reference(1, 0.5, b"x"), None)
    with active(broker, names) as trainer:
        trainer.publish(1, files(1))
        control(broker, names, *hostile)
        control(broker, names, *hostile, reference.replace(b"x", b"y"), key=b"reference")
        control(broker, names, *hostile, None, key=b"version/000001x")
        control(broker, names, *hostile, None, key=b"\xff\x00 unheard of")
        produce(broker, names.control, [None, None], keys=["promoted", "reference"])
        assert first_news(broker, names) == [promoted(1)]
        assert trainer.last_version() == 1
        trainer.publish(2, files(2))
        assert first_news(broker, names) == [promoted(2)]


def test_an_artifact_beyond_the_limit_is_not_fetched(broker, names):
    with active(broker, names) as trainer:
        trainer.publish(1, files(1, 1000))
        trainer.publish(2, files(2, 50_000))
    with capture_logs() as logs:
        assert first_news(broker, names, limit=10_000) == [promoted(1, 1000)]
    assert warnings(logs) == [("promotion", 2, "its number of bytes is no number from 1 to 10000")]


def test_with_a_signing_key_only_what_it_signed_counts_and_of_each_other_version_one_warning_is_given(
    broker, names
):
    with active(broker, names, key=KEY) as trainer:
        trainer.publish(1, files(1))
        trainer.calibrate(Reference(1, 0.1, b"signed"))
    with active(broker, names) as trainer:
        trainer.publish(2, files(2))
        trainer.promote(2)
        trainer.calibrate(Reference(1, 0.2, b"unsigned"))
    with active(broker, names, key=b"another") as trainer:
        assert trainer.last_version() == 0
        trainer.publish(3, files(3))
    with capture_logs() as logs:
        assert first_news(broker, names, key=KEY) == [promoted(1), Reference(1, 0.1, b"signed")]
    assert warnings(logs) == [
        ("promotion", 2, "it is not signed, and a signing key is set"),
        ("reference", 1, "it is not signed, and a signing key is set"),
        ("promotion", 3, "its signature is not that of the signing key"),
    ]
    assert first_news(broker, names) == [promoted(3)]


def test_with_a_signing_key_nothing_counts_that_was_signed_for_an_earlier_time(broker, names):
    with active(broker, names, key=KEY) as trainer, reading(broker, names, key=KEY) as updates:
        for version in (1, 2):
            trainer.publish(version, files(version))
            trainer.calibrate(Reference(2, 0.1 * version, b""))
        assert updates.poll() == [promoted(2), Reference(2, 0.2, b"")]
        old = {
            record.key: record.value for record in reversed(read_all(broker, names.control)) if record.value
        }
        with capture_logs() as logs:
            produce(
                broker, names.control, [old[b"promoted"], old[b"reference"]], keys=["promoted", "reference"]
            )
            give(broker, names, label(1, "normal"))
            assert wait_for_news(updates) == [GivenLabel(0, label(1, "normal"))]
            wait_for_warning(updates, logs, 1)
            assert first_news(broker, names, key=KEY)[-2:] == [promoted(2), Reference(2, 0.2, b"")]
        before = "it was said before what is in force, and somebody has said it again"
        assert warnings(logs)[:2] == [("promotion", 1, before), ("reference", 2, before)]
        trainer.promote(1)
        assert wait_for_news(updates) == [promoted(1)]
    with active(broker, names, key=KEY) as other:
        assert other.last_version() == 2
        other.promote(2)
    assert first_news(broker, names, key=KEY)[-2:] == [promoted(2), Reference(2, 0.2, b"")]


def test_after_brokers_were_away_what_is_read_goes_on_where_it_was(broker, names):
    given = options(broker)
    updates = KafkaUpdates(given, HERE, names)
    give(broker, names, label(1, "normal"), label(2, "normal"))
    assert len(updates.poll()) == 2
    for number in (3, 4):
        given.absence.begin()
        given.absence.end()
        give(broker, names, label(number, "anomaly"))
        assert wait_for_news(updates) == [GivenLabel(number - 1, label(number, "anomaly"))]
    updates.close()


# ---- what is not there


def test_without_a_broker_the_first_poll_ends_with_a_sentence(monkeypatch):
    (port,) = free_ports(1)
    soon = partial(check_reachable, seconds=1)
    monkeypatch.setattr("streamad_connectors.kafka.topic_reader.check_reachable", soon)
    sentence = f"no Kafka broker at 127.0.0.1:{port} answered within 1 s"
    with (
        reading(Borrowed(f"127.0.0.1:{port}"), topics_named("feed")) as updates,
        pytest.raises(WorldError, match=sentence),
    ):
        updates.poll()


def test_a_topic_that_does_not_exist_is_named(broker, names):
    missing = names._replace(control=f"{names.control}x")
    with (
        reading(broker, missing) as updates,
        pytest.raises(UserError, match=f"topic {missing.control} does not exist"),
    ):
        updates.poll()


def test_a_topic_that_was_made_anew_is_noticed(broker, names):
    give(broker, names, *(label(n, "normal") for n in range(10)))
    with reading(broker, names) as updates:
        assert len(updates.poll()) == 10
        delete_topics(broker, [names.labels])
        assert create_missing(admin_connection(broker), names) == [names.labels]
        with pytest.raises((WorldError, UserError), match=f"topic {names.labels}"):
            wait_for_news(updates, seconds=40)


# ---- the topics


def test_topics_as_they_are_made_have_no_problems_and_others_have_one_sentence_each(broker, names):
    admin = admin_connection(broker)
    assert check(admin, names) == []
    delete_topics(broker, [names.alerts])
    change(broker, names.labels, "retention.ms", 604_800_000)
    change(broker, names.labels, "cleanup.policy", "compact,delete")
    change(broker, names.models, "cleanup.policy", "delete")
    change(broker, names.models, "max.message.bytes", 10_000)
    alerts = "make it with as many partitions as you like and cleanup.policy=delete, or give the right Describe on it"
    assert check(admin, names) == [
        f"topic {names.alerts} does not exist, or may not be seen: {alerts}",
        f"topic {names.labels} has cleanup.policy=compact,delete, which would lose labels: set cleanup.policy=delete",
        f"topic {names.labels} has retention.ms=604800000, which would lose labels: set retention.ms=-1",
        f"topic {names.models} has cleanup.policy=delete, which would lose models in force: set cleanup.policy=compact",
        f"topic {names.models} has max.message.bytes=10000, too few for parts of a model: set max.message.bytes=1048576",
    ]
    assert create_missing(admin, names) == [names.alerts]
    assert len(check(admin, names)) == 4


def test_a_topic_whose_order_counts_has_one_partition(broker, topics):
    made = topics(dict.fromkeys(("alerts", "rejected", "candidates", "labels", "models", "control"), 2))
    wanted = topics_named("x")._replace(**made)
    many = "has 2 partitions, which keep no order: make it anew with one"
    problems = check(admin_connection(broker), wanted)
    assert [problem for problem in problems if "partitions" in problem] == [
        f"topic {made[name]} {many}" for name in ("labels", "models", "control")
    ]
