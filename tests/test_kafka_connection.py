"""What people are told when a client cannot work: one sentence each, after a bounded time, against a real broker."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AclOperation, AdminClient, ResourceType
from kafka_broker import USERS
from kafka_topics import allow
from streamad_connectors.kafka.connection import (
    Right,
    check_reachable,
    check_rights,
    connect,
    kafka_errors,
    missing_rights,
    streamad_error,
)
from streamad_connectors.kafka.events import ClientEvents, in_words
from streamad_connectors.kafka.settings import (
    KafkaClient,
    admin_settings,
    consumer_settings,
    member_settings,
    producer_settings,
)

from streamad.errors import OutOfTouchError, UserError, WorldError

SECRET = "hunter2-is-my-word"
NOBODY_LISTENS = "127.0.0.1:1"


class Elsewhere(str):
    """Text as streamad.config expands it."""

    __slots__ = ()


def admin(brokers, **settings):
    options = KafkaClient(brokers=brokers, client=settings)
    return connect(options, AdminClient, admin_settings(options, None))


def consumer(brokers, group="g", make=consumer_settings, **settings):
    options = KafkaClient(brokers=brokers, client=settings)
    return connect(options, Consumer, make(options, None) | {"group.id": group})


def producer(brokers, **settings):
    options = KafkaClient(brokers=brokers, client=settings)
    return connect(options, Producer, producer_settings(options, None))


def login(user, password=None):
    """The settings of one of the broker's users."""
    return {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": Elsewhere(password or USERS[user]),
    }


def refusal(connection, topics=(), seconds=10):
    with pytest.raises(UserError) as refused:
        check_reachable(connection, topics, seconds)
    return str(refused.value)


@pytest.mark.parametrize("make", [admin, consumer, producer])
def test_a_broker_that_is_down_is_waited_for_and_then_named_with_the_reason(make, capfd):
    connection, begun = make(NOBODY_LISTENS), time.monotonic()
    with structlog.testing.capture_logs() as logs, pytest.raises(WorldError) as failed:
        check_reachable(connection, seconds=1)
    assert str(failed.value) == (
        "no Kafka broker at 127.0.0.1:1 answered within 1 s "
        "(127.0.0.1:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused)"
    )
    assert 1 <= time.monotonic() - begun < 3
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["kafka_away_waiting"]
    assert len(logs) < 5  # librdkafka says the same many times a second
    assert "".join(capfd.readouterr()) == ""


def test_a_name_that_nobody_knows_and_a_broker_of_another_protocol_are_named_as_reasons():
    with pytest.raises(WorldError, match=r"nohost\.invalid:9092: Failed to resolve 'nohost\.invalid:9092'"):
        check_reachable(admin("nohost.invalid:9092"), seconds=0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Thread(target=close_each, args=(server,), daemon=True)
        closing.start()
        with pytest.raises(
            WorldError, match=r"within 0\.5 s \(127\.0\.0\.1:\d+: (Disconnected|Receive failed)"
        ):
            check_reachable(admin(f"127.0.0.1:{server.getsockname()[1]}"), seconds=0.5)


def close_each(server):
    """Hang up on everybody, until the server is closed."""
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        pass


class TokenServer(BaseHTTPRequestHandler):
    """Gives nobody a token."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"error": "invalid_client", "error_description": SECRET}).encode())

    def log_message(self, *_):
        pass


def oauth(port):
    return {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "streamad",
        "sasl.oauthbearer.client.secret": Elsewhere(SECRET),
        "sasl.oauthbearer.token.endpoint.url": f"http://streamad:letmein@127.0.0.1:{port}/token",
    }


def test_a_token_server_that_refuses_is_the_users_and_one_that_is_away_is_the_worlds(capfd):
    server = HTTPServer(("127.0.0.1", 0), TokenServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with structlog.testing.capture_logs() as logs:
        assert refusal(admin(NOBODY_LISTENS, **oauth(server.server_port))) == (
            "Kafka at 127.0.0.1:1 refuses the credentials: Failed to acquire SASL OAUTHBEARER token: "
            '{"error": "invalid_client", "error_description": "***"}'
        )
        server.shutdown()
        server.server_close()
        with pytest.raises(WorldError, match="Failed to acquire SASL OAUTHBEARER token: Failed to connect"):
            check_reachable(admin(NOBODY_LISTENS, **oauth(1)), seconds=0.5)
    said = str(logs) + "".join(capfd.readouterr())
    assert (SECRET in said, "letmein" in said, "127.0.0.1:1/token" in said) == (False, False, True)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"session.timeout.ms": 7000, "max.poll.interval.ms": 6999},
            "client settings: `max.poll.interval.ms`must be >= `session.timeout.ms`",
        ),
        (
            {"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.username": "x"},
            "client settings: sasl.username and sasl.password must be set",
        ),
        (
            {"receive.message.max.bytes": 1000},
            "client settings: `receive.message.max.bytes` must be >= `fetch.max.bytes` + 512",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_librdkafkas_words(settings, sentence, capfd):
    with pytest.raises(UserError) as refused:
        consumer(NOBODY_LISTENS, make=member_settings, **settings)
    assert (str(refused.value), "".join(capfd.readouterr())) == (sentence, "")


@pytest.mark.parametrize("make", [consumer_settings, member_settings])
def test_a_groups_timings_are_no_trouble_to_who_is_in_none(make):
    assert consumer(NOBODY_LISTENS, make=make, **{"max.poll.interval.ms": 40_000}).events.problem == ""


def test_a_file_that_is_no_certificate_is_refused_by_the_settings_name(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    options = KafkaClient(
        brokers=NOBODY_LISTENS, client={"security.protocol": "ssl", "ssl.ca.location": "ca.pem"}
    )
    with pytest.raises(UserError, match=r"^client settings: ssl\.ca\.location failed: "):
        connect(options, AdminClient, admin_settings(options, tmp_path))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("security.protocol", "client settings: librdkafka does not take this value of security.protocol"),
        ("session.timeout.ms", "client settings: librdkafka does not take this value of session.timeout.ms"),
        (
            "socket.keepalive.enable",
            "client settings: librdkafka does not take this value of socket.keepalive.enable",
        ),
        ("of.another.version", 'client settings: No such configuration property: "of.another.version"'),
    ],
)
def test_a_value_that_librdkafka_does_not_take_is_not_repeated(name, sentence):
    with pytest.raises(UserError) as refused:
        connect(KafkaClient(brokers=NOBODY_LISTENS), Consumer, {"group.id": "g", name: SECRET})
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[thrd:a:1/bootstrap]: a:1/bootstrap: gone (after 3ms in state CONNECT)", "a:1: gone"),
        (
            "sasl_ssl://b-1.example:9092/12: gone (after 0ms in state UP, 3 identical errors)",
            "b-1.example:9092: gone",
        ),
        ("[thrd:[::1]:1/bootstrap]: [::1]:1/bootstrap: gone", "[::1]:1: gone"),
        (f"token {SECRET} and https://me:{SECRET}@a/x?y", "token *** and https://a/x?y"),
        ("a\nb\x1b[31mc\x9bd\u202ee", "a b [31mc d e"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_librdkafkas_lines_are_put_in_words_for_people(line, words):
    assert in_words(line, [SECRET]) == words


def test_a_kind_of_warning_is_given_once_a_minute_with_a_count(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("streamad_connectors.kafka.events.time.monotonic", lambda: now[0])
    events = ClientEvents(KafkaClient(brokers="a:1"))
    with structlog.testing.capture_logs() as logs:
        for seconds, kind in [
            (0, "MAXPOLL"),
            (1, "MAXPOLL"),
            (0, "CONFWARN"),
            (30, "MAXPOLL"),
            (29, "MAXPOLL"),
        ]:
            now[0] += seconds
            events.log(30, "%s [%s] %s", kind, "rdkafka#consumer-1", "[thrd:main]: too late")
    assert [(line["facility"], line["held_back"], line["log_level"]) for line in logs] == [
        ("MAXPOLL", 0, "warning"),
        ("CONFWARN", 0, "warning"),
        ("MAXPOLL", 2, "warning"),
    ]


def test_what_all_clients_of_a_process_meet_is_told_by_one_of_them():
    options = KafkaClient(brokers="a:1")
    clients = [ClientEvents(made) for made in (options, options, options.model_copy(update={"client": {}}))]
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            for client in clients:
                client.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
                client.log(30, "%s [%s] %s", "SESSTMOUT", "rdkafka#consumer-1", "[thrd:main]: too late")
            for client in reversed(clients):
                client.answered()
    told = [line["event"] for line in logs if line["log_level"] != "debug"]
    assert told == ["kafka_away_waiting", "kafka_answers_again"] * 2


def test_an_outage_is_told_once_and_so_is_its_end(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("streamad_connectors.kafka.events.time.monotonic", lambda: now[0])
    events = ClientEvents(KafkaClient(brokers="a:1"))
    down, why = KafkaError(KafkaError._ALL_BROKERS_DOWN), KafkaError(KafkaError._TRANSPORT, "a:1/1: gone")
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            for error in (why, down):
                events.on_error(error)
            now[0] += 100
        events.answered()
        events.answered()
        events.on_error(down)
    told = [
        {name: line[name] for name in line if name != "log_level"}
        for line in logs
        if line["log_level"] != "debug"
    ]
    assert told == [
        {"event": "kafka_away_waiting", "brokers": "a:1", "said": "a:1: gone"},
        {"event": "kafka_answers_again", "brokers": "a:1", "seconds": 300.0},
        {"event": "kafka_away_waiting", "brokers": "a:1", "said": ""},
    ]


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        (
            "TOPIC_AUTHORIZATION_FAILED",
            UserError,
            "reading: the right Read on the topic is missing: give it to USER",
        ),
        (
            "GROUP_AUTHORIZATION_FAILED",
            UserError,
            "reading: the right Read on group g is missing: give it to USER",
        ),
        (
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            UserError,
            "reading: the right Write on the transactional id is missing: give it to USER",
        ),
        (
            "CLUSTER_AUTHORIZATION_FAILED",
            UserError,
            "reading: a right on the cluster is missing: give it to USER",
        ),
        ("UNKNOWN_TOPIC_OR_PART", UserError, "reading: there is no such topic"),
        ("_UNKNOWN_TOPIC", UserError, "reading: there is no such topic"),
        ("INCONSISTENT_GROUP_PROTOCOL", UserError, "reading: text of librdkafka's"),
        ("INVALID_TRANSACTION_TIMEOUT", UserError, "reading: text of librdkafka's"),
        ("NOT_ENOUGH_REPLICAS", WorldError, "reading: text of librdkafka's"),
        ("COORDINATOR_LOAD_IN_PROGRESS", OutOfTouchError, "reading: text of librdkafka's"),
        ("_TIMED_OUT", OutOfTouchError, "reading: text of librdkafka's (a:1: gone)"),
        ("_TRANSPORT", OutOfTouchError, "reading: text of librdkafka's (a:1: gone)"),
    ],
)
def test_kafkas_errors_become_streamads(code, kind, sentence):
    events = ClientEvents(KafkaClient(brokers="a:1"), {"group.id": "g"})
    events.on_error(KafkaError(KafkaError._TRANSPORT, "a:1/1: gone"))
    with pytest.raises(kind) as raised, kafka_errors("reading", events):
        raise KafkaException(KafkaError(getattr(KafkaError, code), "text of librdkafka's"))
    assert str(raised.value) == sentence.replace("USER", "the user that streamad connects as")
    assert type(streamad_error(KafkaError(getattr(KafkaError, code)), "reading")) is kind


def test_what_cannot_be_reached_because_of_the_password_is_told_as_that():
    events = ClientEvents(KafkaClient(brokers="a:1"))
    events.on_error(KafkaError(KafkaError._AUTHENTICATION, "a:1/1: wrong password"))
    for code in ("_TRANSPORT", "_TIMED_OUT"):
        error = streamad_error(KafkaError(getattr(KafkaError, code)), "reading", events)
        assert (type(error), str(error)) == (
            UserError,
            "Kafka at a:1 refuses the credentials: a:1: wrong password",
        )
    assert type(streamad_error(KafkaError(KafkaError._TRANSPORT), "reading")) is OutOfTouchError
    events.answered()
    assert type(streamad_error(KafkaError(KafkaError._TRANSPORT), "reading", events)) is OutOfTouchError


def test_a_certificate_that_nobody_vouches_for_is_no_trusted_connection():
    events = ClientEvents(KafkaClient(brokers="a:1"))
    events.on_error(KafkaError(KafkaError._SSL, "ssl://a:1/bootstrap: certificate verify failed"))
    error = streamad_error(KafkaError(KafkaError._TRANSPORT), "reading", events)
    sentence = "there is no trusted connection to Kafka at a:1: a:1: certificate verify failed"
    assert (type(error), str(error)) == (UserError, sentence)


@pytest.mark.kafka
@pytest.mark.parametrize("make", [admin, consumer, producer])
def test_a_broker_that_is_there_is_found_with_its_topics(make, broker, topics, capfd):
    names = topics({"records": 2, "alerts": 1})
    with structlog.testing.capture_logs() as logs:
        connection = make(broker.bootstrap)
        check_reachable(connection)
        check_reachable(connection, [*names.values()])
    assert (connection.events.away, connection.events.problem) == (False, "")
    assert [line for line in logs if line["log_level"] != "debug"] == []
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.kafka
@pytest.mark.parametrize("make", [admin, consumer, producer])
def test_a_missing_topic_is_named(make, broker):
    begun = time.monotonic()
    sentence = f"topic no-such-topic does not exist at {broker.bootstrap}"
    assert refusal(make(broker.bootstrap), ["no-such-topic"]) == sentence
    assert time.monotonic() - begun < 5


@pytest.fixture
def secure(broker):
    """HOST:PORT of the listener that asks who it is."""
    address = getattr(broker, "secure_bootstrap", None)
    if address is None:
        pytest.skip("the broker of STREAMAD_KAFKA has no users of ours")
    return address


@pytest.mark.kafka
@pytest.mark.parametrize("make", [admin, consumer, producer])
def test_a_wrong_password_is_told_as_such_and_at_once_and_not_repeated(make, secure, capfd):
    begun = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        assert refusal(make(secure, **login("scorer", SECRET)), seconds=30) == (
            f"Kafka at {secure} refuses the credentials: "
            f"{secure}: SASL authentication error: Authentication failed: Invalid username or password"
        )
    assert time.monotonic() - begun < 5
    assert [line for line in logs if line["log_level"] != "debug"] == []
    assert SECRET not in str(logs) + "".join(capfd.readouterr())


@pytest.mark.kafka
def test_a_mechanism_or_protocol_that_the_listener_does_not_speak_is_named(broker, secure):
    scram = admin(secure, **login("scorer") | {"sasl.mechanism": "SCRAM-SHA-512"})
    assert "SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism" in refusal(
        scram
    )
    assert "refuses the credentials" in refusal(admin(broker.bootstrap, **login("scorer")))
    with pytest.raises(WorldError, match=r"within 1 s \(.*Disconnected.*\): is security\.protocol what that"):
        check_reachable(admin(secure), seconds=1)


@pytest.mark.kafka
def test_a_topic_that_this_user_may_not_see_is_told_with_the_right(secure, topics):
    records = topics({"records": 1})["records"]
    for topic in (records, "no-such-topic"):  # the broker does not tell them apart
        assert refusal(consumer(secure, **login("nobody")), [topic]) == (
            f"the right Describe on topic {topic}, which Read and Write bring along, is missing: "
            "give it to the user nobody"
        )


@pytest.mark.kafka
def test_each_missing_right_is_named(broker, secure, topics):
    names = topics({"records": 1, "alerts": 1})
    records, alerts = names["records"], names["alerts"]
    allow(broker, "trainer", ResourceType.TOPIC, records, AclOperation.READ)
    allow(broker, "trainer", ResourceType.GROUP, records, AclOperation.DESCRIBE)
    wanted = [
        Right("Read", "topic", records),
        Right("Describe", "topic", records),
        Right("Write", "topic", records),
        Right("Write", "topic", alerts),
        Right("Describe", "group", records),
        Right("Read", "group", records),
        Right("Read", "group", alerts),
    ]
    connection = admin(secure, **login("trainer"))
    assert missing_rights(connection, wanted) == [wanted[2], wanted[3], wanted[5], wanted[6]]
    with pytest.raises(UserError) as lacking:
        check_rights(connection, wanted)
    assert str(lacking.value) == f"the right Write on topic {records} is missing: give it to the user trainer"
    assert missing_rights(admin(broker.bootstrap), wanted) == []
    assert missing_rights(connection, []) == []


def write(client, topic):
    client.list_topics(topic, 10)
    client.produce(topic, b"x")


@pytest.mark.kafka
def test_rights_that_are_missing_when_work_begins_are_the_users(secure, topics):
    alerts = topics({"alerts": 1})["alerts"]
    options = KafkaClient(brokers=secure, client=login("nobody"))
    settings = producer_settings(options, None) | {"transactional.id": "nobody-1"}
    connection = connect(options, Producer, settings)
    sentence = (
        r"^beginning: the right Write on transactional id nobody-1 is missing: give it to the user nobody$"
    )
    with pytest.raises(UserError, match=sentence), kafka_errors("beginning", connection.events):
        connection.client.init_transactions(10)
    writing = connect(options, Producer, producer_settings(options, None))
    with (
        pytest.raises(
            UserError, match=r"^writing: the right Write on the topic is missing: give it to the user nobody$"
        ),
        kafka_errors("writing", writing.events),
    ):
        write(writing.client, alerts)


def test_a_user_from_the_environment_is_not_named():
    connection = admin(NOBODY_LISTENS, **login("x", "y") | {"sasl.username": Elsewhere(SECRET)})
    assert connection.user == "the user that streamad connects as"
