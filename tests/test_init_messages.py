"""What `streamad init` makes of messages: each is a record of its own, and junk among them changes nothing."""

from __future__ import annotations

import json

import pytest
import yaml
from streamad_connectors.kafka.source import KafkaOptions

from streamad.config import load_config
from streamad.errors import InputError
from streamad.records.infer import infer
from streamad.records.sample import sample_messages
from streamad.records.template import config_text

SOURCE = {
    "type": "kafka",
    "brokers": "b1:9092,b2:9092",
    "topic": "conn",
    "start": "latest",
    "on_lost": "stop",
}


def objects(count):
    return [
        json.dumps({"n": {"bytes": k % 7 * 1.5}, "service": ["http", "dns"][k % 2]}).encode()
        for k in range(count)
    ]


def inferred(payloads):
    found = infer(sample_messages(payloads, "topic conn"))
    return found.payload.format, dict(found.schema.fields), found.rows, found.unreadable


def test_json_is_recognised_by_most_messages_not_by_the_first():
    junk = [b"hello, world", b"\0\0\0\0\1framed", b""]
    assert inferred([*junk, *objects(60)]) == (
        "ndjson",
        {"n.bytes": "numeric", "service": "categorical"},
        60,
        1,
    )


def test_a_pretty_printed_object_is_one_record():
    payloads = [json.dumps(json.loads(text), indent=2).encode() + b"\r\n" for text in objects(60)]
    assert inferred(payloads) == inferred(objects(60))


def test_words_in_the_first_csv_message_are_a_record_and_no_header():
    payloads = [b"host,amount", *(b"h%d,%d" % (k % 3, k) for k in range(60))]
    found = infer(sample_messages(payloads, "topic conn"))
    assert (found.payload.header, list(found.schema.fields), found.rows) == (
        False,
        ["column_1", "column_2"],
        61,
    )


def test_a_stray_quote_does_not_join_two_messages():
    payloads = [b"h%d,%d" % (k % 3, k) for k in range(60)]
    payloads[3], payloads[5] = b'"h0,3', b'"h2,5'
    assert inferred(payloads)[2:] == (58, 2)


@pytest.mark.parametrize(
    ("payloads", "sentence"),
    [
        ([], "topic conn holds no records yet, and init needs some to look at"),
        ([b"", b" \n"], "topic conn holds no records yet, and init needs some to look at"),
        (
            [b"\1\0", b"\2\0", b"{}"],
            "topic conn holds binary messages; JSON or CSV in UTF-8, uncompressed, is expected",
        ),
    ],
)
def test_messages_that_are_no_text_are_refused(payloads, sentence):
    with pytest.raises(InputError, match=f"^{sentence}$"):
        sample_messages(payloads, "topic conn")


@pytest.fixture
def written(tmp_path):
    """The config of a topic, with options that a cluster with users needs, in a file."""
    client = {"sasl.password": "${PASSWORD}", "ssl.ca.location": "ca.pem"}
    found = infer(sample_messages(objects(60), "topic conn"))
    path = tmp_path / "conn.yaml"
    path.write_text(config_text(found, "conn", SOURCE | {"client": client}), encoding="utf-8")
    return path


def test_the_config_of_a_topic_is_one_for_one_machine_and_keeps_secrets_as_they_were_spelled(
    written, monkeypatch
):
    monkeypatch.setenv("PASSWORD", "hunter2")
    config = load_config(written)
    options = KafkaOptions.model_validate(config.source)
    assert (config.state, config.feed, options.format, options.start) == (None, "conn", "ndjson", "latest")
    assert options.secrets == ("hunter2",)
    assert 'sasl.password: "${PASSWORD}"' in written.read_text(encoding="utf-8")


def test_the_state_in_its_comment_is_that_of_a_cluster(written, monkeypatch):
    monkeypatch.setenv("PASSWORD", "hunter2")
    head, comment, rest = written.read_text(encoding="utf-8").partition("# state:\n")
    lines = rest.splitlines(keepends=True)
    uncommented = [line.removeprefix("# ") for line in lines[:2]]
    assert yaml.safe_load("".join(["state:\n", *uncommented])) == {
        "state": {"type": "kafka", "create_topics": True}
    }
    written.write_text("".join([head, comment[2:], *uncommented, *lines[2:]]), encoding="utf-8")
    assert load_config(written).state == {"type": "kafka", "create_topics": True}
