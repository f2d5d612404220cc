"""What people do in a cluster from the command line, on a real broker with a trainer and a scorer."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import uuid
from collections import Counter

import pytest
import structlog
from commands_help import Commands
from confluent_kafka.admin import AclOperation, NewTopic, ResourceType
from feeds import write_kafka_config, write_log
from kafka_broker import USERS
from kafka_topics import admin, allow, delete_topics, produce, read_all
from processes import start, wait_for
from streamad_connectors.kafka.topics import Topics

pytestmark = pytest.mark.kafka

SECONDS = 60
FIRST = 1200
"""Records in each of the two partitions at the start; every hundredth line is cut short."""


class Cluster:
    """One feed's trainer and scorer, as processes of their own."""

    def __init__(self, folder, broker):
        self.folder, self.broker, self.feed = folder, broker, f"desk{uuid.uuid4().hex[:8]}"
        self.topics = Topics(*(f"{self.feed}.{field}" for field in Topics._fields))
        self.records = f"{self.feed}.records"
        client = admin(broker)
        client.create_topics([NewTopic(self.records, 2)])[self.records].result(30)
        config = write_kafka_config(
            folder,
            {"brokers": broker.bootstrap, "topic": self.records},
            feed=self.feed,
            state={"type": "kafka", "create_topics": True},
            detector={"members": 1, "min_steps": 30},
            labels={"delay": 0, "candidates": 5},
            training={
                "warm_up": {"records": 1000},
                "window": {"records": 2000},
                "every_records": None,
                "every_labels": 20,
            },
        )
        self.config = config.rename(folder / "net.yaml")  # where Commands looks for it
        self.lines = write_log(folder, 2 * FIRST, junk=100)
        for partition in range(2):
            self.produce(self.lines[partition::2], partition)
        self.processes = {}

    def produce(self, lines, partition=0):
        produce(self.broker, self.records, lines, partition=partition)

    def line(self, offset, partition=0):
        return self.lines[2 * offset + partition]

    def start(self, name):
        self.processes[name] = start(name, self.config, log=self.log(name))

    def log(self, name):
        return self.folder / f"{name}.log"

    def said(self, name, event):
        """What a process has logged of one kind of event."""
        lines = self.log(name).read_text().splitlines()
        found = (json.loads(line) for line in lines if line.startswith("{"))
        return [line for line in found if line["event"] == event]

    def rows(self, what):
        """What lies in a topic of streamad's rows."""
        values = (record.value or b"" for record in read_all(self.broker, getattr(self.topics, what)))
        return [json.loads(value) for value in values if value.startswith(b'{"')]

    def event(self, offset, partition=0):
        return f"{self.feed}/{self.records}/{partition}@{offset}"

    def until(self, condition, name="trainer"):
        wait_for(condition, self.processes[name], seconds=SECONDS)

    def completed(self):
        """How often each event's label was said again."""
        return Counter(one["event_id"] for one in self.rows("labels") if "completes" in one)

    def unseen(self):
        """An event that is neither alert nor candidate nor rejected, and has no label."""
        seen = {row["event_id"] for what in ("alerts", "candidates", "labels") for row in self.rows(what)}
        offsets = (n for n in range(300, FIRST) if self.line(n).count(b",") == 41)
        return next(n for n in offsets if self.event(n) not in seen)

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        delete_topics(self.broker, [self.records, *self.topics])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, broker):
    running = Cluster(tmp_path_factory.mktemp("desk"), broker)
    running.start("trainer")
    running.start("run")
    running.until(lambda: running.said("run", "model_active"), "run")
    running.until(
        lambda: len(read_all(broker, running.topics.rejected)) == 2 * FIRST // 100 and running.rows("alerts"),
        "run",
    )
    yield running
    running.close()


@pytest.fixture
def command(cluster, capsys, monkeypatch):
    yield Commands(cluster.folder, capsys, monkeypatch)
    structlog.reset_defaults()


def ids(rows):
    return [row["event_id"] for row in rows]


# ---- reading ---------------------------------------------------------------------------------------------


def test_alerts_are_read_from_their_topic_and_it_is_said_where(cluster, command):
    found = command("alerts", "--limit", "0")
    alerts = [json.loads(line) for line in found.out.splitlines()]
    assert sorted(ids(alerts)) == sorted(ids(cluster.rows("alerts")))
    assert found.err == f"reading topic {cluster.topics.alerts} at {cluster.broker.bootstrap}\n"
    newest = command.rows("alerts", "--limit", "7")
    assert len(newest) == 7
    assert {*ids(newest)} < {*ids(alerts)}
    assert [line.split()[2] for line in command.screen("alerts", "--limit", "7", "--all")] == ids(newest)


def test_what_others_wrote_among_the_alerts_is_left_out(cluster, command):
    before = command.rows("alerts", "--limit", "5")
    odd = [
        b"\xff",
        b"[]",
        b'{ "event_id":1}',
        None,
        b" " + json.dumps({**before[0], "reasons": [7]}).encode(),
    ]
    produce(cluster.broker, cluster.topics.alerts, odd, partition=0)
    found = command("alerts", "--limit", "10")
    assert ids(map(json.loads, found.out.splitlines())) == ids(before)
    assert "left out: 2 that are no alerts of streamad's" in found.err


def test_following_shows_alerts_as_they_come_and_ends_with_its_reader(cluster):
    words = ["alerts", cluster.config, "--follow", "--limit", "20"]
    follower = start(*words, log=cluster.log("follow"), stdout=subprocess.PIPE)
    lines = lines_of(follower.stdout)
    first = [next(lines) for _ in range(15)]  # and five that others wrote
    known = cluster.rows("alerts")
    assert {*ids(first)} < {*ids(known)}
    places = [alert["event_id"].rpartition("/")[2].split("@") for alert in known[:50]]
    cluster.produce([cluster.line(int(offset), int(partition)) for partition, offset in places])
    offset = int(next(lines)["event_id"].rpartition("@")[2])
    assert FIRST <= offset < FIRST + 50
    follower.stdout.close()
    assert follower.wait(SECONDS) == 0


def lines_of(pipe):
    """The rows that a process writes, each within a bounded time."""
    read = b""
    while True:
        while b"\n" not in read:
            assert select.select([pipe], [], [], SECONDS)[0], "nothing came"
            read += os.read(pipe.fileno(), 1 << 16)
        line, _, read = read.partition(b"\n")
        yield json.loads(line)


def test_rejected_payloads_come_back_as_they_were(cluster, command):
    found = {row["position"]: row for row in command.rows("rejected", "--limit", "0")}
    assert {*found} == {record.key.decode() for record in read_all(cluster.broker, cluster.topics.rejected)}
    one, payload = found[f"{cluster.records}/1@49"], cluster.line(49, 1)
    assert {name: one[name] for name in ("reason", "field", "length")} == {
        "reason": "too_few_fields",
        "field": None,
        "length": len(payload),
    }
    assert command.screen("rejected", "--limit", "3")[0].split() == ["3", "too_few_fields"]


def test_show_finds_an_event_or_says_how_far_it_looked(cluster, command):
    alert = command.rows("alerts", "--limit", "1")[0]
    (shown,) = command.rows("show", alert["event_id"])
    assert (shown["alert"], shown["record"], shown["reasons"]) == (True, alert["record"], alert["reasons"])
    candidate = next(row for row in cluster.rows("candidates") if row["kind"] == "candidate")
    (shown,) = command.rows("show", candidate["event_id"])
    assert (shown["alert"], shown["record"], shown["p_value"]) == (
        False,
        candidate["record"],
        candidate["p_value"],
    )
    last = command("show", "nothing", code=2).err.splitlines()[-1]
    assert last.startswith("streamad: no event among the newest ")
    assert last.endswith(" candidates has the id or key 'nothing'")


def test_a_topic_that_is_not_there_is_named(command):
    last = command("alerts", "--set", "state.topics.alerts=nowhere", code=2).err.splitlines()[-1]
    assert last.startswith("streamad: topic nowhere does not exist at ")


# ---- labels ----------------------------------------------------------------------------------------------


def test_the_queue_asks_for_the_most_anomalous_and_not_for_what_was_answered(cluster, command):
    first = command.rows("queue", "--limit", "1")[0]
    known = [row for what in ("alerts", "candidates") for row in cluster.rows(what)]
    assert first["p_value"] == min(row["p_value"] for row in known)
    event = first["event_id"]
    given = command.rows("label", event, "anomaly", "--analyst", "ann", "--note", "x")
    assert given == [{"event_id": event, "label": "anomaly", "outcome": "added"}]
    said = cluster.rows("labels")[-1]
    assert (said["analyst"], said["note"], said["record"]) == ("ann", "x", first["record"])
    assert event not in ids(command.rows("queue", "--limit", "1000"))
    used_up = command("queue", "--set", "labels.questions_per_day=1")
    assert (used_up.out, used_up.err.splitlines()[-1][:31]) == ("", "today's questions are used up: ")
    (shown,) = command.rows("show", event)
    assert (shown["verdict"], len(shown["labels"])) == ("anomaly", 1)
    command("label", event, "withdrawn")
    assert event in ids(command.rows("queue", "--limit", "1000"))


def test_every_desk_asks_about_the_same_events_whoever_trains(cluster, tmp_path):
    config = tmp_path / "elsewhere.yaml"
    config.write_text(cluster.config.read_text())
    said = []
    try:
        for number, folder in enumerate((cluster.folder, tmp_path, tmp_path)):
            if number == 2:  # whoever trains has no part in it
                cluster.processes["trainer"].send_signal(signal.SIGSTOP)
            command = [sys.executable, "-m", "streamad", "queue", config, "--limit", "30", "--json"]
            desk = os.environ | {"PYTHONHASHSEED": str(number)}
            said.append(
                subprocess.run(command, cwd=folder, env=desk, stdout=subprocess.PIPE, check=True).stdout
            )
    finally:
        cluster.processes["trainer"].send_signal(signal.SIGCONT)
    assert len({*said}) == 1
    events = [json.loads(line)["event_id"] for line in said[0].splitlines()]
    assert len(events) == len({*events}) == 30


def test_the_trainer_adds_the_record_to_a_label_that_has_none_once_it_is_there(cluster, command):
    quiet = cluster.unseen()
    event, later, nowhere = cluster.event(quiet), cluster.event(FIRST + 5, 1), cluster.event(1, 7)
    for one in (event, later, nowhere):
        given = command.rows("label", one, "anomaly")
        assert given == [{"event_id": one, "label": "anomaly", "outcome": "waiting"}]
    command("label", event, "normal")
    cluster.until(lambda: cluster.completed()[event])
    cluster.until(lambda: cluster.said("trainer", "labels_without_record"))
    assert cluster.completed()[later] == 0
    cluster.produce([cluster.line(n, 1) for n in range(10)], partition=1)
    cluster.until(lambda: cluster.completed()[later])
    records = {one["event_id"]: one["record"] for one in cluster.rows("labels") if "completes" in one}
    assert records[event]["src_bytes"] == int(cluster.line(quiet).split(b",")[4])
    assert records[later]["src_bytes"] == int(cluster.line(5, 1).split(b",")[4])
    labels = command.rows("status")[0]["labels"]
    assert (labels["normal"], labels["waiting"]) == (1, 1)
    (warned,) = cluster.said("trainer", "labels_without_record")
    assert (warned["count"], warned["of"]) == (1, nowhere)


def test_a_file_of_labels_is_given_line_by_line_and_its_bad_lines_are_named(cluster, command):
    alerts = command.rows("alerts", "--limit", "20")
    labels = [{"event_id": alert["event_id"], "label": "anomaly", "completes": 0} for alert in alerts]
    labels += [{"event_id": alerts[0]["event_id"], "label": "maybe"}, {"event_id": "x/1", "label": "normal"}]
    path = cluster.folder / "labels.ndjson"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in labels))
    found = command("label", "--from", str(path), code=2)
    assert json.loads(found.out) == {"added": 20, "waiting": 0, "refused": 2}
    refused = [line.partition("ndjson: ")[2] for line in found.err.splitlines() if "ndjson: " in line]
    assert [line.partition(":")[0] for line in refused] == ["line 21", "line 22"]
    said = {one["event_id"]: one for one in cluster.rows("labels")[-20:]}
    assert [said[alert["event_id"]]["record"] for alert in alerts] == [alert["record"] for alert in alerts]


# ---- the trainer -----------------------------------------------------------------------------------------


def test_a_new_trainer_completes_no_label_a_second_time(cluster, command):
    before = cluster.completed()
    cluster.processes["trainer"].send_signal(signal.SIGKILL)
    cluster.processes["trainer"].wait()
    cluster.log("trainer").unlink()
    cluster.start("trainer")
    cluster.until(lambda: cluster.said("trainer", "model_active"))
    event = cluster.event(cluster.unseen())
    command("label", event, "normal")
    cluster.until(lambda: cluster.completed()[event])
    assert cluster.completed() == before + Counter([event])
    assert {*cluster.completed().values()} == {1}


def test_a_version_that_is_asked_for_is_promoted_and_scores_everywhere(cluster, command):
    cluster.until(lambda: len(command.rows("models", "list")) == 2)  # of the twenty labels
    cluster.until(lambda: scoring(cluster, "run") == 2)
    listed = command.rows("models", "list")
    assert [(row["version"], row["status"]) for row in listed] == [(1, "retired"), (2, "active")]
    (shown,) = command.rows("models", "show")
    assert shown["labels"]["anomaly"] >= 20
    assert {*shown["data"]} == {"rows", "trained_rows", "past_rows", "labeled_rows"}
    last = command("models", "promote", "7", code=2).err.splitlines()[-1]
    assert last == "streamad: version 7 is not kept: these are: 1, 2"
    asked = {"request": "rollback", "version": 1, "trainer": True}
    assert command.rows("models", "rollback") == [asked]
    for name in ("trainer", "run"):
        cluster.until(lambda name=name: scoring(cluster, name) == 1, name)
    last = command("models", "rollback", code=2).err.splitlines()[-1]
    assert last == "streamad: no version before version 1 is kept"
    assert command.screen("models", "promote", "2") == [
        "promote to version 2 is asked for; the active trainer takes it"
    ]
    for name in ("trainer", "run"):
        cluster.until(lambda name=name: scoring(cluster, name) == 2, name)


def test_a_version_of_another_schema_is_not_asked_for(command):
    other = ("--set", "schema.fields.land=ignore")
    for asked in (["promote", "2"], ["rollback"]):
        last = command("models", *asked, *other, code=2).err.splitlines()[-1]
        assert "cannot take over: the schema changed since version" in last
        assert "land was boolean, is ignore" in last


def scoring(cluster, name):
    """The version that a process scores with."""
    return cluster.said(name, "model_active")[-1]["version"]


def test_an_analyst_needs_these_rights_and_no_others(cluster, command, monkeypatch):
    if cluster.broker.secure_bootstrap is None:
        pytest.skip("the broker has no listener with users")
    monkeypatch.setenv("PASSWORD", USERS["nobody"])
    user = "{security.protocol: sasl_plaintext, sasl.mechanism: PLAIN, sasl.username: nobody, sasl.password: '${PASSWORD}'}"
    login = ["--set", f"source.brokers={cluster.broker.secure_bootstrap}", "--set", f"source.client={user}"]
    refused = command("alerts", *login, code=2).err.splitlines()[-1]
    assert refused.startswith(f"streamad: the right Describe on topic {cluster.topics.alerts}")
    read, write, describe = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
    topics, groups = ResourceType.TOPIC, ResourceType.GROUP
    for topic in cluster.topics:
        allow(cluster.broker, "nobody", topics, topic, read)
    for topic in (cluster.topics.labels, cluster.topics.control):
        allow(cluster.broker, "nobody", topics, topic, write)
    allow(cluster.broker, "nobody", topics, cluster.records, describe)
    for group in (f"streamad-{cluster.feed}", f"streamad-{cluster.feed}-trainer"):
        allow(cluster.broker, "nobody", groups, group, describe)
    event = command.rows("alerts", *login, "--limit", "1")[0]["event_id"]
    command("rejected", *login)
    command("queue", *login)
    command("show", event, *login)
    command("label", event, "normal", *login)
    assert cluster.rows("labels")[-1]["event_id"] == event
    command("models", "show", *login)
    command("models", "promote", "2", *login)
    (muted,) = command.rows("mute", "service == none", "--for", "1h", "--why", "x", *login)
    command("mute", "--end", muted["id"], *login)
    assert command.rows("status", *login)[0]["trainer_active"]


def test_alerts_of_all_partitions_are_folded_into_bursts_with_their_counts(cluster, command):
    alerts = [one for one in cluster.rows("alerts") if "muted" not in one]
    shown = [line.split("  ") for line in command.screen("alerts", "--limit", "0")]
    repeats = [int(part.split()[1]) for line in shown for part in line if part.startswith("and ")]
    assert len(shown) + sum(repeats) == len(alerts)
    kinds = {tuple(one["record"][name] for name in ("protocol_type", "service", "flag")) for one in alerts}
    assert len(kinds) <= len(shown) < len(alerts)


def test_what_is_muted_stays_on_the_topic_with_its_mute_and_people_do_not_see_it(cluster, command):
    (mute,) = command.rows("mute", "protocol_type in (tcp, udp, icmp)", "--for", "1h", "--why", "all of it")

    def muted():
        cluster.produce(cluster.lines[:50])
        return [one["event_id"] for one in cluster.rows("alerts") if one.get("muted") == mute["id"]]

    cluster.until(muted, "run")
    command("mute", "--end", mute["id"])
    found = set(muted())
    assert found <= {one["event_id"] for one in command.rows("alerts", "--limit", "0")}
    assert found.isdisjoint(row["event_id"] for row in command.rows("queue", "--limit", "10000"))
    assert not any(event in line for line in command.screen("alerts", "--limit", "0") for event in found)


def test_status_tells_of_lag_trainer_version_and_labels(cluster, command):
    (found,) = command.rows("status", "--json")
    assert (found["feed"], found["scorers"], found["trainer_active"]) == (cluster.feed, 1, True)
    assert {*found["lag"]} == {f"{cluster.records}/0", f"{cluster.records}/1"}
    assert (found["version"], found["labels"]["waiting"], found["stale"]) == (2, 1, False)
    lines = command.screen("status")
    assert [line.split()[0] for line in lines] == [
        "feed", "scorers", "records", "lag", "trainer", "model", "labels",
    ]  # fmt: skip
    cluster.processes["run"].send_signal(signal.SIGTERM)
    assert cluster.processes["run"].wait(SECONDS) == 0
    cluster.produce([cluster.line(1)])
    (found,) = command.rows("status", code=3)
    assert (found["behind"], found["scorers"], found["stale"]) == (1, 0, True)
