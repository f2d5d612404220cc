"""The client's settings in a config: what is passed on, what is refused and why, and what nobody gets to see."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from pydantic import SecretStr, ValidationError
from streamad_connectors.kafka.allowed import ALLOWED, OPTIONS, REFUSED, Number, OneOf, Whole
from streamad_connectors.kafka.settings import (
    KafkaClient,
    admin_settings,
    consumer_settings,
    member_settings,
    producer_settings,
)

from streamad.errors import UserError

SECRET = "hunter2-is-my-word"

SECRETS = {name for name, setting in ALLOWED.items() if setting.kind == "secret"}


class Elsewhere(str):
    """Text as streamad.config expands it."""

    __slots__ = ()

    def __repr__(self):
        return "'${WORD}'"


def options(**settings):
    return KafkaClient(brokers="kafka.example:9092", client=settings)


def refused(name, value="x"):
    """What is said of a setting: its name, what was found, what was expected."""
    with pytest.raises(ValidationError) as error:
        KafkaClient(brokers="kafka.example:9092", client={name: value})
    (first,) = error.value.errors()
    assert (first["type"], first["loc"]) == ("named_key", ("client",))
    return tuple(first["ctx"][word] for word in ("name", "found", "expected"))


CODE = "loads code into the process, and no config may"
SHELL = "goes into a shell command that the client runs, and no config may run commands"
KERBEROS = "belongs to Kerberos, whose tickets the client renews by a shell command"
COMMITS = "would commit offsets apart from what came of the records, and records would be lost"
TWICE = "would let an alert be lost, written twice or out of order"
GROUPS = "would change how partitions are handed over, and records would be scored twice or not at all"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plugin.library.paths", CODE),
        ("interceptors", CODE),
        ("ssl.engine.location", CODE),
        ("ssl.engine.id", CODE),
        ("ssl.providers", CODE),
        (
            "sasl.kerberos.kinit.cmd",
            "is a shell command that the client runs, and no config may run commands",
        ),
        ("sasl.kerberos.keytab", SHELL),
        ("sasl.kerberos.principal", SHELL),
        ("sasl.kerberos.service.name", KERBEROS),
        ("sasl.kerberos.min.time.before.relogin", KERBEROS),
        ("enable.sasl.oauthbearer.unsecure.jwt", "makes tokens that nobody signed"),
        ("enable.auto.commit", COMMITS),
        ("auto.commit.enable", COMMITS),
        ("auto.commit.interval.ms", COMMITS),
        ("enable.auto.offset.store", COMMITS),
        ("offset.store.method", COMMITS),
        ("offset.store.path", COMMITS),
        ("isolation.level", "is always read_committed: what was taken back must not be scored"),
        ("transactional.id", "is made by streamad, which fences a process that came back by it"),
        (
            "transaction.timeout.ms",
            "is set by streamad, since an open transaction holds up every reader behind it",
        ),
        ("message.timeout.ms", "is set by streamad to fit the transaction's"),
        ("delivery.timeout.ms", "is set by streamad to fit the transaction's"),
        ("enable.idempotence", TWICE),
        ("enable.gapless.guarantee", TWICE),
        ("acks", TWICE),
        ("request.required.acks", TWICE),
        ("retries", TWICE),
        ("message.send.max.retries", TWICE),
        ("max.in.flight", TWICE),
        ("max.in.flight.requests.per.connection", TWICE),
        ("queuing.strategy", TWICE),
        ("delivery.report.only.error", "would hide from streamad what was written"),
        ("partitioner", "would scatter what one key's messages must keep in order"),
        ("partition.assignment.strategy", GROUPS),
        ("group.protocol", GROUPS),
        ("group.protocol.type", GROUPS),
        ("group.remote.assignor", GROUPS),
        ("group.instance.id", GROUPS),
        ("enable.partition.eof", "is set by streamad, which knows a topic's end by it"),
        (
            "allow.auto.create.topics",
            "would make a topic of every typing error: streamad makes topics only when asked",
        ),
        ("topic.blacklist", "would leave out topics in silence"),
        ("debug", "would write what the client handles to the log"),
        ("log_level", "is set by streamad, as log.level says"),
        ("log.queue", "is set by streamad, whose log the client's lines go to"),
        ("statistics.interval.ms", "is set by streamad, which makes its metrics of them"),
    ],
)
def test_a_setting_that_loads_code_or_that_safety_rests_on_is_refused_with_its_reason(name, reason):
    assert refused(name) == (name, reason, "that setting to be left out")


def test_every_refusal_is_tried_above_and_none_is_passed_on_as_well():
    (mark,) = test_a_setting_that_loads_code_or_that_safety_rests_on_is_refused_with_its_reason.pytestmark
    assert {name for name, _ in mark.args[1]} == set(REFUSED)
    assert set(ALLOWED) & (set(REFUSED) | set(OPTIONS)) == set()


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("bootstrap.servers", "brokers"),
        ("metadata.broker.list", "brokers"),
        ("group.id", "group"),
        ("auto.offset.reset", "start"),
    ],
)
def test_a_setting_that_is_an_option_of_streamad_is_refused_by_the_options_name(name, option):
    assert refused(name) == (name, "is decided by streamad", f"the option {option} instead")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("sesion.timeout.ms", "session.timeout.ms"),
        ("sasl.pasword", "sasl.password"),
        ("ssl_ca_location", "ssl.ca.location"),
        ("fetch.wait.ms", "fetch.wait.max.ms"),
        ("sasl.oauthbearer.clientid", "sasl.oauthbearer.client.id"),
    ],
)
def test_an_unknown_setting_is_refused_by_the_nearest_known_name_and_its_value_is_not_shown(name, nearest):
    found, expected = "not among the settings that are passed on", f"one that is, such as {nearest}"
    assert refused(name, SECRET) == (name, found, expected)


@pytest.mark.parametrize(
    ("name", "value", "found", "expected"),
    [
        ("session.timeout.ms", "abc", "found 'abc'", "a whole number from 1 to 3600000"),
        ("session.timeout.ms", 0, "found 0", "a whole number from 1 to 3600000"),
        ("session.timeout.ms", 1.5, "found 1.5", "a whole number from 1 to 3600000"),
        ("session.timeout.ms", True, "found True", "a whole number from 1 to 3600000"),
        ("session.timeout.ms", None, "found None", "a whole number from 1 to 3600000"),
        ("session.timeout.ms", [6000], "found [6000]", "a whole number from 1 to 3600000"),
        ("linger.ms", "nan", "found 'nan'", "a number from 0 to 900000"),
        ("check.crcs", "maybe", "found 'maybe'", "true or false"),
        ("security.protocol", "tls", "found 'tls'", "plaintext, ssl, sasl_plaintext or sasl_ssl"),
        (
            "sasl.mechanism",
            "GSSAPI",
            "found 'GSSAPI'",
            "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
        ),
        ("sasl.oauthbearer.method", "default", "found 'default'", "oidc"),
        ("sasl.username", 12, "found 12", "text, in quotes if it looks like a number"),
        ("client.id", "", "found ''", "text, in quotes if it looks like a number"),
        ("client.id", "a\0b", "found 'a\\x00b'", "text, in quotes if it looks like a number"),
        ("ssl.ca.location", {"x": 1}, "found {'x': 1}", "text, in quotes if it looks like a number"),
        (
            "security.protocol",
            "sasl_ssl",
            "missing",
            "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
        ),
        ("sasl.mechanism", "OAUTHBEARER", "missing", "oidc"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_what_was_expected(name, value, found, expected):
    assert refused(name, value)[1:] == (found, expected)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_that_is_written_in_the_config_is_refused_and_not_repeated(name):
    found = (name, "written in the config", "${NAME} or {file: PATH}, which keep a secret out of it")
    assert refused(name, SECRET) == found
    assert refused(name, 31415) == (
        name,
        "a secret of another kind",
        "text, in quotes if it looks like a number",
    )


@pytest.mark.parametrize(
    "name", sorted(SECRETS | {"sasl.username", "client.id", "sasl.oauthbearer.client.id"})
)
@pytest.mark.parametrize("wrapped", [Elsewhere(SECRET), SecretStr(SECRET)])
def test_text_from_the_environment_or_a_file_is_shown_nowhere(name, wrapped):
    made = options(**{name: wrapped})
    shown = (repr(made), str(made), repr(made.model_dump()), made.model_dump_json())
    assert [SECRET in text for text in shown] == [False] * 4
    assert (made.secrets, admin_settings(made, None)[name]) == ((SECRET,), SECRET)
    assert type(admin_settings(made, None)[name]) is str


def test_an_error_beside_a_secret_shows_values_as_they_were_spelled():
    with pytest.raises(ValidationError) as error:
        options(**{"sasl.password": Elsewhere(SECRET), "fetch.wait.max.ms": Elsewhere(SECRET)})
    assert SECRET not in str(error.value)
    assert "fetch.wait.max.ms: found '${WORD}'; expected a whole number from 0 to 300000" in str(error.value)


@pytest.mark.parametrize(
    "brokers", ["", "a", "a:", ":9092", "a:9092,", "a:9092;b:9092", "ssl://a:9092", "a:123456"]
)
def test_anything_else_is_refused_as_brokers(brokers):
    with pytest.raises(ValidationError, match="host:port, several with commas between them"):
        KafkaClient(brokers=brokers)


def test_each_client_gets_the_settings_that_are_its_own():
    made = options(
        **{
            "session.timeout.ms": 40_000,
            "linger.ms": "0.5",
            "socket.keepalive.enable": "TRUE",
            "compression.type": "LZ4",
        }
    )
    every = {
        "bootstrap.servers": "kafka.example:9092",
        "allow.auto.create.topics": False,
        "socket.keepalive.enable": True,
    }
    assert admin_settings(made, None) == every
    alone = every | {
        "fetch.queue.backoff.ms": 2,
        "fetch.wait.max.ms": 10,
        "queued.min.messages": 100000,
        "fetch.message.max.bytes": 4194304,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
    }
    assert consumer_settings(made, None) == alone
    assert member_settings(made, None) == alone | {
        "session.timeout.ms": 40_000,
        "heartbeat.interval.ms": 500,
        "topic.metadata.refresh.interval.ms": 30_000,
        "max.poll.interval.ms": 40_000,
    }
    assert producer_settings(made, None) == every | {
        "linger.ms": 0.5,
        "compression.type": "lz4",
        "enable.idempotence": True,
        "acks": "all",
    }


def test_the_users_queue_sizes_win_over_ours():
    settings = consumer_settings(options(**{"fetch.wait.max.ms": 500, "queued.min.messages": "10"}), None)
    assert (settings["fetch.wait.max.ms"], settings["queued.min.messages"]) == (500, 10)


def test_files_are_relative_to_the_config(tmp_path):
    (tmp_path / "ca.pem").write_text("x", encoding="utf-8")
    made = options(**{"ssl.ca.location": "ca.pem", "https.ca.location": "probe"})
    settings = producer_settings(made, tmp_path)
    assert (settings["ssl.ca.location"], settings["https.ca.location"]) == (str(tmp_path / "ca.pem"), "probe")
    with pytest.raises(UserError, match=r"^client setting ssl\.key\.location: there is no file key\.pem$"):
        consumer_settings(options(**{"ssl.key.location": "key.pem"}), tmp_path)


def sample(kind):
    """A value of each kind that librdkafka can have meant."""
    match kind:
        case Whole(low, high):
            return [low, high]
        case Number(low, high):
            return [low, high]
        case OneOf(words):
            return list(words)
        case "switch":
            return [True, False]
    return ["x"]


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_librdkafka_knows_each_setting_and_takes_what_we_take_for_it(name):
    make = Producer if ALLOWED[name].side == "producer" else Consumer
    said = []
    for value in sample(ALLOWED[name].kind):
        made = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0, name: value}
        try:
            make(made)
        except KafkaException as error:  # some need others beside them, and are judged with those
            said.append(error.args[0].str())
    assert [text for text in said if not text.startswith("Failed to create")] == []
