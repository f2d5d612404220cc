"""A secret of a Kafka client is planted in every way that a config has, and looked for in everything that comes out."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from confluent_kafka.admin import AclOperation, ResourceType
from inputs_help import FIELDS, Feed
from kafka_broker import USERS
from kafka_topics import allow, produce

from streamad.job import Job
from streamad.wiring.cluster import member

SECRET = "hunter2-is-my-word"

WAYS = {"environment": "${PLANTED}", "file": {"file": "planted"}, "named by both": {"file": "${PLACE}"}}
"""Where a secret comes from -> how the config spells it."""


@pytest.fixture
def feed(tmp_path, capfd):
    """A feed whose commands' output is caught where librdkafka would write, too."""
    return Feed(tmp_path, capfd)


def outcome(feed, command, code, secret=SECRET):
    """All that a command said before it ended with this code, and every file that holds the secret but its own."""
    said = "".join(feed.call(command, code=code))
    files = [path for path in feed.folder.rglob("*") if path.is_file() and path.name != "planted"]
    return said, [path.name for path in files if secret.encode() in path.read_bytes()]


@pytest.fixture
def source(feed, monkeypatch):
    """Write a config with this source, at the most talkative, and plant the secret where it is looked for."""

    def source(secret, **options):
        monkeypatch.setenv("PLANTED", secret)
        monkeypatch.setenv("PLACE", "planted")
        feed.file("planted", f"{secret}\n")
        kafka = {"type": "kafka", "topic": "records"}
        feed.write(source=kafka | options, log={"level": "debug", "format": "json"})

    return source


class TokenServer(BaseHTTPRequestHandler):
    """Refuses, and repeats what it was given."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"error": f"{SECRET} is wrong"}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def token_server():
    """The port of a server that gives nobody a token."""
    server = HTTPServer(("127.0.0.1", 0), TokenServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("way", WAYS)
def test_a_run_whose_token_server_repeats_the_secret_does_not(feed, source, token_server, way):
    client = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "streamad",
        "sasl.oauthbearer.client.secret": WAYS[way],
        "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{token_server}/token",
    }
    source(SECRET, brokers="127.0.0.1:1", client=client)
    said, kept = outcome(feed, "run", 2)
    sentence = 'refuses the credentials: Failed to acquire SASL OAUTHBEARER token: {"error": "*** is wrong"}'
    assert (sentence in said, '"event": "kafka_client", "level": "debug"' in said) == (True, True)
    assert (SECRET in said, kept) == (False, [])


def password(user, spelled):
    return {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": spelled,
    }


@pytest.fixture
def secure(broker):
    """HOST:PORT of the listener that asks who it is."""
    address = getattr(broker, "secure_bootstrap", None)
    if address is None:
        pytest.skip("the broker of STREAMAD_KAFKA has no users of ours")
    return address


@pytest.mark.kafka
@pytest.mark.parametrize("way", WAYS)
def test_a_run_with_a_wrong_password_ends_at_once_and_does_not_show_it(feed, source, secure, way):
    source(SECRET, brokers=secure, client=password("scorer", WAYS[way]))
    said, kept = outcome(feed, "run", 2)
    assert f"Kafka at {secure} refuses the credentials: " in said
    assert (SECRET in said, kept) == (False, [])


@pytest.mark.kafka
def test_a_replay_with_the_right_password_keeps_it_nowhere(feed, source, broker, secure, topics):
    records = topics({"records": 1})["records"]
    allow(broker, "scorer", ResourceType.TOPIC, records, AclOperation.READ)
    allow(broker, "scorer", ResourceType.GROUP, "streamad-net", AclOperation.READ)
    produce(
        broker,
        records,
        [json.dumps({"user": f"u{n}", "bytes": n % 97, "service": "http"}) for n in range(300)],
    )
    source(USERS["scorer"], brokers=secure, topic=records, client=password("scorer", WAYS["named by both"]))
    said, kept = outcome(feed, "replay", 0, USERS["scorer"])
    assert (USERS["scorer"] in said, kept) == (False, [])
    spelled = b'"sasl.password":{"file":"${PLACE}"}'  # the source that a replay is known by
    assert spelled in b"".join(path.read_bytes() for path in feed.state.glob("store.db*"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"client": {"sasl.password": SECRET}},
        {"client": {"sasl.pasword": SECRET}},
        {"client": {"sasl.pasword": "${PLANTED}"}},
        {"client": {"sasl.password": "${PLANTED}", "fetch.wait.max.ms": "${PLANTED}"}},
        {"client": {"fetch.wait.max.ms": {"file": "planted"}}},
        {"client": {"security.protocol": {"file": "planted"}}},
        {"client": {"ssl.ca.location": "${PLANTED}"}},
        {"client": {"ssl.key.location": {"file": "planted"}}},
        {"client": {"debug": "${PLANTED}"}},
        {"client": "${PLANTED}"},
        {"client": {"sasl.password": {"file": "${PLANTED}"}}},
        {"client": {"sasl.password": {"file": "planted", "more": SECRET}}},
        {"client": {"security.protocol": "ssl", "ssl.key.pem": "${PLANTED}"}},
        {"brokers": "${PLANTED}"},
        {"topic": "${PLANTED}!"},
        {"start": "${PLANTED}"},
        {"client": {"sasl.password": "${PLANTED}"}, "group": ["x"]},
    ],
)
def test_a_wrong_config_is_refused_without_what_is_secret_in_it(feed, monkeypatch, wrong):
    monkeypatch.setenv("PLANTED", SECRET)
    feed.file("planted", SECRET)
    feed.write(source={"type": "kafka", "brokers": "127.0.0.1:1", "topic": "records"} | wrong)
    assert SECRET not in feed.refused()


@pytest.mark.parametrize(
    ("client", "sentence"),
    [
        (
            {"plugin.library.paths": "/tmp/own.so"},
            "plugin.library.paths: loads code into the process, and no config may",
        ),
        ({"group.id": "mine"}, "group.id: is decided by streamad; expected the option group instead"),
        (
            {"sasl.password": SECRET},
            "sasl.password: written in the config; expected ${NAME} or {file: PATH}",
        ),
        (
            {"sesion.timeout.ms": 1},
            "sesion.timeout.ms: not among the settings that are passed on; expected one that is, such as session.",
        ),
        (
            {"session.timeout.ms": 0},
            "session.timeout.ms: found 0; expected a whole number from 1 to 3600000",
        ),
    ],
)
def test_a_clients_setting_is_refused_by_its_key_path(feed, client, sentence):
    feed.write(
        source={"type": "kafka", "brokers": "127.0.0.1:1", "topic": "records", "client": client},
        schema={"fields": FIELDS},
    )
    assert feed.refused().startswith(f"net.yaml: source.client.{sentence}")


KEYS = {
    f'"{SECRET}"': "written in the config; expected ${NAME} or {file: PATH}, which keep a secret out of it",
    "987654321": "a secret of another kind; expected text, in quotes if it looks like a number",
    "{file: planted, more: 1}": "a secret of another kind; expected text, in quotes if it looks like a number",
    '["${PLANTED}"]': "a secret of another kind; expected text, in quotes if it looks like a number",
    "${EMPTY}": "a secret of another kind; expected text, in quotes if it looks like a number",
    "{file: nowhere}": "nowhere: No such file or directory; expected a file that can be read",
}


@pytest.mark.parametrize(("spelled", "sentence"), KEYS.items())
def test_a_signing_key_that_is_none_or_stands_in_the_config_is_refused_and_not_shown(
    feed, source, monkeypatch, spelled, sentence
):
    monkeypatch.setenv("EMPTY", "")
    source(SECRET, brokers="127.0.0.1:1")
    feed.write(**yaml.safe_load(feed.path.read_text()) | {"state": {"type": "kafka"}})
    said = feed.call("run", "--check", "--set", f"state.signing_key={spelled}", code=2).err
    assert sentence in said
    assert [secret for secret in (SECRET, "987654321") if secret in said] == []


@pytest.mark.parametrize("way", WAYS)
def test_a_signing_key_comes_from_elsewhere_and_is_in_no_text(feed, source, way):
    source(SECRET, brokers="127.0.0.1:1")
    feed.write(
        **yaml.safe_load(feed.path.read_text()) | {"state": {"type": "kafka", "signing_key": WAYS[way]}}
    )
    state = member(Job("run", feed.path)).state
    assert state.signing_key.get_secret_value() == SECRET
    assert SECRET not in f"{state!r} {state.model_dump_json()}"
