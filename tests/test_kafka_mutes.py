"""Mutes on a real broker: said at a desk, heard by every scorer, kept for whoever starts later."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from commands_help import Commands
from feeds import write_kafka_config
from kafka_topics import make_topics, produce
from kafka_updates_help import feed_of, first_news, reading, wait_for_news
from streamad_connectors.kafka.control import write_mute
from structlog.testing import capture_logs

from streamad.ports import Mute

pytestmark = pytest.mark.kafka

KEY = b"a key that nobody knows"


@pytest.fixture
def command(broker, names, tmp_path, capsys, monkeypatch):
    """Commands of an analyst of a feed with these topics."""
    (records,) = make_topics(broker, {"records": 1}).values()
    path = write_kafka_config(
        tmp_path,
        {"brokers": broker.bootstrap, "topic": records},
        feed=feed_of(names),
        state={"type": "kafka"},
    )
    path.rename(tmp_path / "net.yaml")  # where Commands looks for it
    return Commands(tmp_path, capsys, monkeypatch)


def given(command, condition="service == http", **options):
    words = [word for name, text in options.items() for word in (f"--{name}", text)]
    (row,) = command.rows("mute", condition, "--for", "1h", "--why", "a test", *words)
    return Mute(**row)


def test_a_mute_reaches_who_reads_and_who_begins_later_and_so_does_its_end(broker, names, command):
    with reading(broker, names) as updates:
        assert updates.poll() == []
        mute = given(command, analyst="ann")
        other = given(command, "service == ftp")
        assert wait_for_news(updates, 2) == [mute, other]
        assert first_news(broker, names) == [mute, other]
        ended = Mute(**command.rows("mute", "--end", mute.id, "--analyst", "bob")[0])
        assert wait_for_news(updates) == [ended]
    assert (ended.id, ended.ended_by, mute.ended_at) == (mute.id, "bob", None)
    assert ended.ended_at is not None
    assert ended in first_news(broker, names)
    listed = {row["id"]: (row["in_force"], row["alerts"]) for row in command.rows("mute", "--list")}
    assert listed == {mute.id: (False, None), other.id: (True, None)}
    assert command.rows("status")[0]["mutes"] == {"in_force": 1}


def test_with_a_signing_key_a_mute_counts_only_where_it_is_signed(broker, names, command, monkeypatch):
    mute = given(command)
    signed = Mute("1f", "user == a", "", "", mute.since, mute.until)
    produce(broker, names.control, [write_mute(signed, KEY)], keys=[b"mute/1f"])
    with capture_logs() as logs:
        assert first_news(broker, names, key=KEY) == [signed]
    assert [(log["what"], log["reason"]) for log in logs if log["event"] == "update_ignored"] == [
        ("mute", "it is not signed, and a signing key is set")
    ]
    monkeypatch.setenv("SIGN", KEY.decode())
    signing = ("--set", "state.signing_key=${SIGN}")
    assert [row["id"] for row in command.rows("mute", "--list", *signing)] == ["1f"]
    said = command("status", *signing).err
    assert said.count("messages_refused") == 1
    assert "it is not signed, and a signing key is set" in said


def test_an_ended_mute_stays_ended_under_whatever_key_an_older_message_comes(
    broker, names, command, monkeypatch
):
    mute = Mute("1f", "user == a", "", "", given(command).since, given(command).until)
    ended = replace(mute, ended_at=mute.since, ended_by="bob")
    for key, value in (
        (b"mute/1f", write_mute(mute, KEY, 1)),
        (b"mute/1f", write_mute(ended, KEY, 2)),
        (b"mute/another", write_mute(mute, KEY, 1)),
    ):
        produce(broker, names.control, [value], keys=[key])
    assert first_news(broker, names, key=KEY) == [mute, ended]
    monkeypatch.setenv("SIGN", KEY.decode())
    signing = ("--set", "state.signing_key=${SIGN}")
    assert [row["in_force"] for row in command.rows("mute", "--list", *signing)] == [False]


def test_an_empty_signing_key_is_refused(command, monkeypatch):
    monkeypatch.setenv("SIGN", "")
    assert "signing_key" in command("mute", "--list", "--set", "state.signing_key=${SIGN}", code=2).err


@pytest.mark.parametrize(
    "changes",
    [
        {"until": "tomorrow"},
        {"until": "2026-01-01T00:00:00Z"},
        {"ended_at": 7},
        {"condition": None},
        {"condition": "a" * 5000},
        {"why": ["x"]},
        {"kind": "wanted"},
        {"format": 2},
    ],
)
def test_what_is_no_mute_is_passed_over(broker, names, command, changes):
    mute = given(command)
    tree = json.loads(write_mute(mute, None)) | {"id": "other"} | changes
    produce(broker, names.control, [json.dumps(tree).encode(), b"\xff"], keys=[b"mute/other", b"mute/odd"])
    with capture_logs() as logs:
        assert first_news(broker, names) == [mute]
    assert [log["what"] for log in logs if log["event"] == "update_ignored"] == ["mute"]
    assert [row["id"] for row in command.rows("mute", "--list")] == [mute.id]
