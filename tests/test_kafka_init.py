"""`streamad init kafka://BROKERS/TOPIC` on a real broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType
from kafka_broker import USERS
from kafka_topics import allow, produce
from streamad_connectors.kafka import sampling
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.synthetic import generate_lines

from streamad.cli import main
from streamad.config import load_config

pytestmark = pytest.mark.kafka

SMALL = {"detector.members": 1, "detector.hidden": [8], "detector.epochs": 1, "training.warm_up.records": 200}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def objects(count, first=0):
    return [
        json.dumps({"n": n, "service": ["http", "dns", "smtp"][n % 3]}) for n in range(first, first + count)
    ]


def sampled(broker, topic):
    return sampling.sample_topic(KafkaClient(brokers=broker.bootstrap), Path(), topic).lines


def refused(capsys, code, *words):
    """The one sentence on stderr."""
    assert main(["init", *words]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:10]) == ("", 1, "streamad: "), err
    return err[10:-1]


def test_a_topics_config_runs_as_it_is(broker, topics, capsys):
    topic = topics({"conn": 3})["conn"]
    for number in range(3):
        produce(broker, topic, [*objects(150, 150 * number), None, "junk"], number)
    assert main(["init", f"kafka://{broker.bootstrap}/{topic}", "--out", "conn.yaml"]) == 0
    assert capsys.readouterr().err == "next: streamad run --check conn.yaml, then streamad run conn.yaml\n"
    assert load_config(Path("conn.yaml")).source == {
        "type": "kafka",
        "brokers": broker.bootstrap,
        "topic": topic,
        "start": "earliest",
        "on_lost": "stop",
        "format": "ndjson",
    }
    faster = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    assert main(["replay", "conn.yaml", *faster]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["scored"], summary["rejected"]) == (450, 6)


def test_lines_of_kddcup99_and_of_csv_are_recognised(broker, topics, capsys):
    names = topics({"kdd": 2, "csv": 1})
    produce(broker, names["kdd"], generate_lines(1, 0, 300).splitlines(keepends=True))
    produce(broker, names["csv"], [f"h{n % 3};{n}.5\n" for n in range(60)])
    found = []
    for name in ("kdd", "csv"):
        assert main(["init", f"kafka://{broker.bootstrap}/{names[name]}", "--out", name]) == 0
        config = load_config(Path(name))
        found.append((config.source["format"], config.source.get("delimiter"), len(config.schema_.fields)))
    assert found == [("kdd", None, 42), ("csv", ";", 2)]
    assert capsys.readouterr().out == ""


def test_the_newest_of_each_partition_are_taken_and_a_full_sample_is_shared_out(broker, topics, monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLE_LINES", 50)
    topic = topics({"t": 4})["t"]
    for partition, count in enumerate((100, 10, 0, 100)):
        produce(broker, topic, [f"{partition},{n}" for n in range(count)], partition)
    expected = [(0, range(80, 100)), (1, range(10)), (3, range(80, 100))]
    assert sampled(broker, topic) == [b"%d,%d" % (p, n) for p, numbers in expected for n in numbers]


def test_what_was_taken_back_is_not_seen_and_an_open_transaction_is_not_waited_for(broker, topics):
    topic = topics({"t": 1})["t"]
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for word, end in (("seen", producer.commit_transaction), ("taken back", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(topic, word)
        producer.flush(30)
        end(30)
    producer.begin_transaction()
    producer.produce(topic, "open")
    producer.flush(30)
    assert sampled(broker, topic) == [b"seen"]
    producer.abort_transaction(30)


def test_large_messages_end_the_sample_early(broker, topics, monkeypatch):
    monkeypatch.setattr(sampling, "_BYTES", 1 << 20)
    topic = topics({"t": 1})["t"]
    produce(broker, topic, [b"%09d" % n * 60_000 for n in range(20)])
    assert 2 <= len(sampled(broker, topic)) < 20


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], "holds no records yet, and init needs some to look at"),
        ([None, ""], "holds no records yet, and init needs some to look at"),
        (["hello"] * 30, "is no table that streamad knows: neither CSV with , ; | or tabs, nor NDJSON, "),
        (
            [b"\0\0\0\0\7Avro"] * 9 + [b"{}"],
            ": 9 of its 10 newest messages are framed by the Avro, Protobuf or JSON Schema serialiser of a schema reg",
        ),
    ],
)
def test_a_topic_that_says_nothing_is_refused_in_one_sentence(broker, topics, capsys, values, sentence):
    topic = topics({"t": 2})["t"]
    produce(broker, topic, values, 0)
    said = refused(capsys, 2, f"kafka://{broker.bootstrap}/{topic}")
    assert said.startswith(f"topic {topic}{'' if sentence.startswith(':') else ' '}{sentence}")


def test_a_topic_that_is_missing_and_a_broker_that_is_are_told(broker, capsys, monkeypatch):
    monkeypatch.setattr(sampling, "_SECONDS", 1.0)
    said = refused(capsys, 2, f"kafka://{broker.bootstrap}/nothere")
    assert said == f"topic nothere does not exist at {broker.bootstrap}"
    said = refused(capsys, 3, "kafka://127.0.0.1:1/t")
    assert said.startswith("no Kafka broker at 127.0.0.1:1 answered within 1 s (")


def test_who_one_is_comes_with_set_and_stays_as_it_was_spelled(broker, topics, capsys, monkeypatch):
    if broker.secure_bootstrap is None:
        pytest.skip("the broker of STREAMAD_KAFKA has no users of ours")
    topic = topics({"t": 1})["t"]
    produce(broker, topic, objects(60))
    monkeypatch.setenv("PASSWORD", USERS["scorer"])
    client = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "scorer",
        "sasl.password": "${PASSWORD}",
    }
    words = [f"kafka://{broker.secure_bootstrap}/{topic}", "--out", "t.yaml"]
    words += [word for key, value in client.items() for word in ("--set", f"source.client.{key}={value}")]
    allow(broker, "scorer", ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    said = refused(capsys, 2, *words)
    assert said == f"the right Read on topic {topic} is missing: give it to the user scorer"
    allow(broker, "scorer", ResourceType.TOPIC, topic, AclOperation.READ)
    assert main(["init", *words]) == 0
    assert load_config(Path("t.yaml")).source["client"]["sasl.password"] == USERS["scorer"]
    text = Path("t.yaml").read_text(encoding="utf-8")
    assert ('sasl.password: "${PASSWORD}"' in text, USERS["scorer"] in text) == (True, False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("kafka://h:1",),
            "a topic is named as kafka://HOST:PORT/TOPIC, several brokers with commas between them",
        ),
        (
            ("kafka://me:word@h:1/t",),
            "a URL is no place for a password, which others on this machine could read there",
        ),
        (
            ("kafka://h/t",),
            "CONFIG: source.brokers: found 'h'; expected host:port, several with commas between them",
        ),
        (
            ("kafka://h:1/t", "--set", "feed=x"),
            "init --set takes options of the source, less those of its format",
        ),
        (
            ("kafka://h:1/t", "--set", "source.format=csv"),
            "init --set takes options of the source, less those of its",
        ),
        (
            ("log.csv", "--set", "source.x=1"),
            "init --set takes options of the source that a URL names, such as kafka:",
        ),
        (("s3://b/t",), "init knows no s3://, but files, standard input (-) and kafka://BROKERS/TOPIC"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_sentence(capsys, words, sentence):
    assert refused(capsys, 2, *words).startswith(sentence)
