"""The options of a state in Kafka, and what they take over from the source's."""

from __future__ import annotations

import pytest
from inputs_help import feed  # noqa: F401  # a fixture
from pydantic import SecretStr, ValidationError
from streamad_connectors.kafka.source import KafkaOptions
from streamad_connectors.kafka.state import StateOptions, TopicNames, _check_apart, _client, _topics
from streamad_connectors.kafka.topics import Topics


def state(**options):
    return StateOptions.model_validate({"type": "kafka", **options})


def client(**options):
    """What the state's clients are made of, beside a source with settings of its own."""
    settings = {"client.id": "reader", "linger.ms": 5}
    source = KafkaOptions.model_validate(
        {"type": "kafka", "brokers": "a:1,b:2", "topic": "records", "client": settings}
    )
    found = _client(state(**options), source)
    return found.brokers, found.client


def test_without_brokers_the_state_is_at_the_sources_with_its_settings_beside_its_own():
    own = {"linger.ms": 20, "sasl.password": SecretStr("x")}
    assert client() == ("a:1,b:2", {"client.id": "reader", "linger.ms": 5})
    assert client(client=own) == ("a:1,b:2", {"client.id": "reader", **own})


def test_with_brokers_of_its_own_the_state_takes_nothing_from_the_source():
    assert client(brokers="c:3") == ("c:3", {})


def test_topics_are_named_after_the_feed_unless_they_are_renamed():
    assert _topics(TopicNames(labels="verdicts"), "kdd") == Topics(
        "kdd.alerts", "kdd.rejected", "kdd.candidates", "verdicts", "kdd.models", "kdd.control"
    )


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"brokers": "no port"}, ("brokers",)),
        ({"brokers": ""}, ("brokers",)),
        ({"topics": {"alerts": "a b"}}, ("topics", "alerts")),
        ({"topics": {"alarms": "a"}}, ("topics", "alarms")),
        ({"delivery": "at_most_once"}, ("delivery",)),
        ({"transactional_id": ""}, ("transactional_id",)),
        ({"client": {"transactional.id": "x"}}, ("client",)),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(options, where):
    with pytest.raises(ValidationError) as caught:
        state(**options)
    assert [error["loc"] for error in caught.value.errors()] == [where]


@pytest.mark.parametrize(
    "call", [("run", "--check"), ("run",), ("trainer", "--check"), ("trainer",), ("alerts",)]
)
@pytest.mark.parametrize(
    ("topic", "own", "sentence"),
    [
        ("net.alerts", {}, "topic net.alerts is named for alerts, records"),
        (
            "records",
            {"topics": {"rejected": "net.alerts"}},
            "topic net.alerts is named for alerts, rejected",
        ),
        (
            "x",
            {"topics": dict.fromkeys(("labels", "models", "control"), "x"), "brokers": "b:2,a:1"},
            "topic x is named for labels, models, control, records",
        ),
    ],
)
def test_one_topic_has_one_role(feed, call, topic, own, sentence):  # noqa: F811
    source = {"type": "kafka", "brokers": "a:1,c:3", "topic": topic}
    feed.write(source=source, state={"type": "kafka"} | own)
    assert feed.call(*call, code=2).err.splitlines()[-1] == (
        f"streamad: {sentence}: each needs one of its own (source.topic, state.topics)"
    )


def test_a_topic_of_other_brokers_may_have_any_name():
    source = KafkaOptions(type="kafka", brokers="a:1", topic="net.alerts")
    _check_apart(state(brokers="b:2"), source, _topics(TopicNames(), "net"))
