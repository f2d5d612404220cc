"""Where the broker of the tests comes from, and what is said where it can not."""

from __future__ import annotations

import kafka_broker
import kafka_java
import pytest


@pytest.fixture
def bare(monkeypatch):
    """A desk, not CI, where nothing says where Kafka is."""
    for name in ("CI", "STREAMAD_KAFKA", "KAFKA_HOME", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def reason(call, outcome=pytest.skip.Exception):
    with pytest.raises(outcome) as told:
        call()
    return str(told.value)


def test_without_java_or_maven_a_desk_skips_and_says_what_to_install(bare, tmp_path):
    bare.setenv("PATH", str(tmp_path))
    bare.setattr(kafka_java, "LIBS", tmp_path / "libs")
    assert reason(kafka_java.java) == (
        "no Kafka broker: java is missing: install a JDK, 17 or newer, or name a running broker in STREAMAD_KAFKA"
    )
    assert reason(kafka_java.libs) == (
        "no Kafka broker: mvn is missing, which fetches its jars: install Maven, or set KAFKA_HOME or STREAMAD_KAFKA"
    )


def test_in_ci_it_fails_where_a_desk_would_skip(bare, tmp_path):
    bare.setenv("KAFKA_HOME", str(tmp_path))
    said = f"no Kafka broker: there are no jars in {tmp_path}/libs, which KAFKA_HOME names"
    assert reason(kafka_java.libs) == said
    bare.setenv("CI", "true")
    assert reason(kafka_java.libs, pytest.fail.Exception) == said


def test_the_jars_of_kafka_home_are_used_as_they_are(bare, tmp_path):
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.3.0.jar").touch()
    bare.setenv("KAFKA_HOME", str(tmp_path))
    assert kafka_java.libs() == tmp_path / "libs"


def test_a_broker_of_somebody_else_is_used_but_never_ended(bare, tmp_path):
    bare.setenv("STREAMAD_KAFKA", "kafka.example:9092")
    (borrowed,) = kafka_broker.for_session(tmp_path)
    assert borrowed == kafka_broker.Borrowed("kafka.example:9092", secure_bootstrap=None)
    assert reason(borrowed.kill) == kafka_java.NOT_OURS
    assert reason(lambda: kafka_broker.Broker(tmp_path)) == kafka_java.NOT_OURS


def test_ports_are_free_and_below_those_of_outgoing_connections():
    ports = kafka_java.free_ports(20)
    assert len({*ports}) == 20
    assert all(10_000 <= port < 32_768 for port in ports)
