"""The brokers that the tests of Kafka run on, and what the helpers say of their topics."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import kafka_java
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, ResourceType
from kafka_broker import USERS, Broker, Cluster
from kafka_topics import admin, allow, committed, end_offsets, make_topics, produce, read_all
from processes import alive, say

pytestmark = pytest.mark.kafka

FAST = {"broker.session.timeout.ms": 3000}
"""Three seconds, not nine, until a killed broker counts as dead."""


def commit(broker, group, topic, partition, offset):
    """As a member of the group would."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    consumer.close()


def values(records):
    return [record.value for record in records]


def test_what_was_produced_is_read_back_with_its_place_and_headers(broker, topics):
    topic = topics({"records": 2})["records"]
    produce(broker, topic, [b"a", None], partition=1, keys=["k", b"l"], headers={"h": b"1"})
    produce(broker, topic, ["c"], partition=0)
    assert read_all(broker, topic) == [
        (0, 0, None, b"c", []),
        (1, 0, b"k", b"a", [("h", b"1")]),
        (1, 1, b"l", None, [("h", b"1")]),
    ]


def test_topics_have_fresh_names_and_the_settings_asked_for(broker, topics):
    first, second = topics({"records": 1}), topics({"records": 3, "models": 1}, cleanup_policy="compact")
    assert first["records"] != second["records"]
    assert end_offsets(broker, second["records"]) == {0: 0, 1: 0, 2: 0}
    with pytest.raises(AssertionError, match="not everything was stored"):
        produce(broker, second["models"], [b"a compacted topic takes no value without a key"])


def test_an_aborted_transaction_is_read_only_uncommitted_and_an_open_one_ends_the_committed(broker, topics):
    topic = topics({"alerts": 1})["alerts"]
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": topic})
    producer.init_transactions()
    for value, end in (
        ("kept", producer.commit_transaction),
        ("gone", producer.abort_transaction),
        ("open", None),
    ):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush()
        if end is not None:
            end()
    assert [record[:4] for record in read_all(broker, topic)] == [(0, 0, None, b"kept")]
    assert values(read_all(broker, topic, "read_uncommitted")) == [
        b"kept",
        b"gone",
        b"open",
    ]
    assert end_offsets(broker, topic, "read_committed") == {
        0: 4
    }  # each record and each end of one has its place
    assert end_offsets(broker, topic) == {0: 5}
    producer.abort_transaction()
    assert read_all(broker, topic) == [(0, 0, None, b"kept", [])]


def test_committed_offsets_are_those_of_the_group_and_only_where_it_has_some(broker, topics):
    topic = topics({"records": 2})["records"]
    produce(broker, topic, [b"a", b"b"], partition=1)
    commit(broker, topic, topic, 1, 2)
    assert committed(broker, topic, topic) == {1: 2}
    assert committed(broker, "another", topic) == {}


def test_a_killed_broker_comes_back_with_its_topics_and_offsets(tmp_path):
    with Broker(tmp_path, properties=FAST) as broker:
        topic = make_topics(broker, {"records": 1})["records"]
        produce(broker, topic, [b"a", b"b"])
        commit(broker, "group", topic, 0, 1)
        first = broker.pid
        broker.kill()
        assert not alive(first)
        with pytest.raises(KafkaException):
            AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0}).list_topics(timeout=0.5)
        began = time.monotonic()
        broker.start()
        say(f"after kill -9: there again after {time.monotonic() - began:.1f} s")
        assert broker.pid != first
        assert values(read_all(broker, topic)) == [b"a", b"b"]
        assert committed(broker, "group", topic) == {0: 1}
        last = broker.pid
    assert not alive(last)


def test_a_topic_with_acks_from_all_stays_writable_while_one_of_three_brokers_is_dead(tmp_path):
    began = time.monotonic()
    with Cluster(tmp_path, properties=FAST) as cluster:
        say(f"three brokers after {time.monotonic() - began:.1f} s")
        topic = make_topics(cluster, {"records": 1})["records"]
        assert setting(cluster, topic, "min.insync.replicas") == "2"
        produce(cluster, topic, ["a"])
        first = leader(cluster, topic)
        cluster.brokers[first - 1].kill()
        began = time.monotonic()
        produce(cluster, topic, ["b"])
        say(f"the leader killed: written again after {time.monotonic() - began:.1f} s")
        assert leader(cluster, topic) != first
        assert values(read_all(cluster, topic)) == [b"a", b"b"]
        cluster.brokers[first - 1].start()
        produce(cluster, topic, ["c"])
        assert values(read_all(cluster.brokers[first - 1], topic)) == [b"a", b"b", b"c"]


def setting(cluster, topic, name):
    client, asked = admin(cluster), ConfigResource(ResourceType.TOPIC, topic)
    return client.describe_configs([asked])[asked].result(10)[name].value


def leader(cluster, topic):
    return admin(cluster).list_topics(topic, 10).topics[topic].partitions[0].leader


def test_a_user_sees_only_what_an_acl_gives(broker, topics):
    if broker.secure_bootstrap is None:
        pytest.skip("STREAMAD_KAFKA names no listener with users")
    names = topics({"records": 1, "models": 1})
    user = AdminClient(login(broker, "scorer"))
    assert [*user.list_topics(timeout=10).topics] == []
    allow(broker, "scorer", ResourceType.TOPIC, names["records"], AclOperation.READ, AclOperation.DESCRIBE)
    assert [*user.list_topics(timeout=10).topics] == [names["records"]]
    assert {*names.values()} <= {*AdminClient(login(broker, "admin")).list_topics(timeout=10).topics}


def login(broker, name):
    return {
        "bootstrap.servers": broker.secure_bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": name,
        "sasl.password": USERS[name],
    }


def test_a_broker_that_can_not_start_gives_the_end_of_its_log(tmp_path):
    broker = Broker(tmp_path)
    with (
        socket.create_server(("127.0.0.1", broker.seat.plain)),
        pytest.raises(pytest.fail.Exception, match=r"(?s)did not answer.*Address already in use"),
    ):
        broker.start()


HARNESS = """
import sys, threading, time
from pathlib import Path
from kafka_broker import Broker
broker = Broker(Path(sys.argv[1]), cpu=0)
thread = threading.Thread(target=broker.start)
thread.start(), thread.join()
print(broker.pid, flush=True)
time.sleep(60)
"""


def test_no_broker_outlives_a_harness_killed_with_9_though_it_outlives_the_thread_that_started_it(tmp_path):
    kafka_java.libs()
    command = [sys.executable, "-c", HARNESS, tmp_path]
    with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as harness:
        pid = int(harness.stdout.readline())
        assert "Cpus_allowed_list:\t0\n" in Path(f"/proc/{pid}/status").read_text()
        time.sleep(0.5)
        assert alive(pid)
        harness.kill()
    deadline = time.monotonic() + 5
    while alive(pid):
        assert time.monotonic() < deadline, "the broker lives on"
        time.sleep(0.01)
