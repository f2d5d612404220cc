"""`streamad demo --kafka` on a real broker: the whole loop, and nothing left of it."""

from __future__ import annotations

import re
import signal

import pytest
from kafka_topics import admin, read_all
from processes import start, wait_for
from streamad_connectors.kafka import traffic
from streamad_connectors.synthetic import generate_lines

from streamad.cli import main
from streamad.commands import demo_kafka
from streamad.records.kdd import kdd_object

pytestmark = pytest.mark.kafka


def left_of_demos(broker):
    """Topics and groups that a demo has made."""
    client = admin(broker)
    groups = client.list_consumer_groups().result(30).valid
    names = [*client.list_topics(timeout=30).topics, *(group.group_id for group in groups)]
    return [name for name in names if "demo-" in name]


@pytest.mark.slow
def test_the_whole_loop_goes_through_topics_that_are_removed_again(broker, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(demo_kafka, "_PART", 6000)
    monkeypatch.setattr(demo_kafka, "_FEW", 500)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["demo", "--kafka", broker.bootstrap]) == 0
    said = capsys.readouterr().out
    counts = re.findall(r"([\d,]+) made-up connections, .* by version (\d);.*, (\d+) of them twice", said)
    assert counts == [("6,000", "1", "0"), ("5,500", "2", "0")]
    (asked, attacks) = re.search(
        r"asked about (\d+) events .*\n   The analyst found (\d+) attacks", said
    ).groups()
    assert 20 < int(asked) <= 100
    assert 0 < int(attacks) < int(asked)
    before, after = (
        [int(cell) for cell in re.findall(r"\d+", line.partition("labels")[2])]
        for line in said.splitlines()
        if "labels " in line and line.startswith("│")
    )
    assert all(alerts >= found >= rarest for _, alerts, found, rarest in (before, after))
    assert before[-1] > 0
    assert left_of_demos(broker) == []
    assert [*tmp_path.iterdir()] == []


def test_a_demo_that_is_stopped_removes_its_topics_and_its_processes(broker, tmp_path):
    demo = start("demo", "--kafka", broker.bootstrap, "--state", tmp_path / "demo", log=tmp_path / "log")
    wait_for(lambda: [*tmp_path.glob("demo/*scorer.log")], demo)
    demo.send_signal(signal.SIGTERM)
    assert (demo.wait(60), (tmp_path / "log").read_text(), left_of_demos(broker)) == (0, "", [])


def test_traffic_for_a_topic_is_the_generators_as_json_in_turn_to_each_partition(broker, topics):
    topic = topics({"t": 3})["t"]
    assert traffic.main([broker.bootstrap, topic, "--rate", "100000", "--records", "50", "--seed", "3"]) == 0
    expected = [kdd_object(line) for line in generate_lines(3, 0, 50).splitlines()]
    assert [record.value for record in read_all(broker, topic)] == expected[::3] + expected[1::3] + expected[
        2::3
    ]


def test_traffic_for_a_topic_that_is_missing_is_one_sentence(broker, capfd):
    assert traffic.main([broker.bootstrap, "nothere"]) == 2
    sentence = f"streamad_connectors.kafka.traffic: topic nothere does not exist at {broker.bootstrap}\n"
    assert capfd.readouterr() == ("", sentence)


def test_a_broker_that_is_not_there_is_one_sentence(capsys):
    assert main(["demo", "--kafka", "nobody"]) == 2
    sentence = "streamad: demo: state.brokers: found 'nobody'; expected host:port, several with commas between them\n"
    assert capsys.readouterr() == ("", sentence)
