"""A promoted version that is of no use here, or that is to stay, on a real broker: who goes on, who ends, what is said."""

from __future__ import annotations

import hashlib
import json

import pytest
from feeds import write_log
from kafka_cluster_help import PARTITIONS, Running
from kafka_updates_help import active, admin_connection, reading
from processes import ask, wait_for
from streamad_connectors.kafka import publisher
from streamad_connectors.kafka.chunks import cut
from streamad_connectors.kafka.topics import Topics, create_missing
from test_kafka_health import artifact  # noqa: F401  # a fixture
from test_training_fit import snapshot

from streamad.job import Job
from streamad.ports import Promoted
from streamad.state.artifacts import MANIFEST, SEAL, read_files, write_artifact
from streamad.training.fit import fit
from streamad.wiring.checks import findings

pytestmark = pytest.mark.kafka

OTHER = "schema.fields.land=ignore"
CHANGED = (
    "the schema changed since version 1 was made: land was boolean, is ignore (streamad trainer --new-schema takes it over, "
    "and scorers start after it)"
)


class Cluster(Running):
    """One whose records are there."""

    def __init__(self, folder, broker, records, **changes):
        super().__init__(folder, broker, records, **changes)
        self.all = Topics(**self.topics)
        self.lines = write_log(folder, 6000)
        self.feed(self.lines[:2400])

    def publish(self, version, files):
        """Make the topics, and promote a version."""
        create_missing(admin_connection(self.broker), self.all)
        with active(self.broker, self.all) as voice:
            voice.publish(version, files)

    def check(self, role, *overrides, new_schema=False):
        """What --check finds of versions: kind and sentence."""
        found = findings(Job("run", self.config, overrides, any_schema=new_schema), role)
        return [(one.kind, one.text) for one in found if "version " in one.text]

    def events_of(self, name, *which):
        """What a process told of some events, in order."""
        lines = [json.loads(line) for line in self.said(name).splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] in which]

    def wait_until_said(self, name, event, count=1):
        wait_for(lambda: len(self.events_of(name, event)) >= count, self.processes[name], seconds=120)

    def promoted(self):
        """The numbers of what is promoted now, as a reader is told at once."""
        with reading(self.broker, self.all) as updates:
            return [update.version for update in updates.poll() if isinstance(update, Promoted)]


@pytest.fixture
def cluster(tmp_path, broker, topics):
    made = []

    def make(**changes):
        made.append(Cluster(tmp_path, broker, topics({"records": PARTITIONS})["records"], **changes))
        return made[0]

    yield make
    for one in made:
        one.end()


def test_a_changed_schema_ends_whoever_starts_until_a_trainer_is_told_to_take_it_over(
    cluster,
    artifact,  # noqa: F811
):
    one = cluster()
    one.publish(1, artifact)
    for role in ("scorer", "trainer"):
        assert one.check(role) == [("ok", "version 1: promoted, and fits the schema")]
        assert one.check(role, OTHER) == [("problem", CHANGED)]
    warned = f"version 1 is promoted, and this trainer begins anew and makes the next one: {CHANGED}"
    assert one.check("trainer", OTHER, new_schema=True) == [("warning", warned)]
    refused = [one.start(name, "--set", OTHER) for name in ("trainer-1", "a")]
    assert [process.wait(60) for process in refused] == [2, 2]
    for name in ("trainer-1", "a"):
        assert one.said(name).endswith(f"streamad: {CHANGED}\n")
    one.start("trainer-2", "--new-schema", "--set", OTHER)
    one.wait_until_said("trainer-2", "model_active")
    (anew,) = one.events_of("trainer-2", "begins_anew")
    assert (anew["why"], anew["next_version"]) == (CHANGED, 2)
    well = [("ok", "version 2: promoted, and fits the schema")]
    assert one.check("scorer", OTHER) == well
    assert one.check("trainer", OTHER, new_schema=True) == well  # told once too often


def newer(folder):
    """The files of version 7, made by a newer streamad."""
    write_artifact(folder / "000007", *fit(snapshot(version=7)))
    files = read_files(folder / "000007")
    manifest = json.dumps(json.loads(files[MANIFEST]) | {"format": 2}).encode()
    return files | {MANIFEST: manifest, SEAL: hashlib.sha256(manifest).hexdigest().encode()}


def test_with_a_promoted_version_that_nobody_can_read_the_trainer_makes_the_next_number_and_a_scorer_waits(
    cluster, tmp_path
):
    one = cluster()
    one.publish(7, newer(tmp_path))
    one.start("a", "--set", "http.listen=127.0.0.1:0")
    one.wait_until_said("a", "version_unreadable")
    (listening,) = one.events_of("a", "http_listening")
    why = one.events_of("a", "version_unreadable")[0]["reason"]
    assert why.endswith("000007 was made by a newer streamad: its format is 2, this streamad reads format 1")
    waits = 503, f"waits for a model: {why}\n"
    wait_for(lambda: ask(listening["port"], "/readyz") == waits, one.processes["a"])
    one.start("trainer")
    one.wait_until_said("trainer", "model_active")
    (anew,) = one.events_of("trainer", "begins_anew")
    assert anew["next_version"] == 8
    assert "was made by a newer streamad" in anew["why"]
    assert one.events_of("trainer", "stands_by_again") == []
    assert one.promoted() == [8]
    one.await_end()
    wait_for(lambda: ask(listening["port"], "/readyz") == (200, "ok\n"), one.processes["a"])


def test_with_a_promoted_version_whose_chunks_are_damaged_the_trainer_makes_the_next_number(
    cluster,
    artifact,  # noqa: F811
    monkeypatch,
):
    def spoiled(files, size):
        return [chunk[:-1] + b"X" for chunk in cut(files, size)]

    monkeypatch.setattr(publisher, "cut", spoiled)
    one = cluster()
    one.publish(1, artifact)
    ((kind, text),) = one.check("trainer")
    begins = "version 1 is promoted, and this trainer begins anew and makes the next one: version 1 cannot be read: "
    assert (kind, text[: len(begins)]) == ("warning", begins)
    one.start("trainer")
    one.wait_until_said("trainer", "model_active")
    (anew,) = one.events_of("trainer", "begins_anew")
    assert (anew["why"], anew["next_version"]) == ("no promoted version can be had", 2)
    assert one.events_of("trainer", "stands_by_again") == []
    assert one.promoted() == [2]


def test_while_a_version_that_is_pinned_scores_no_training_takes_its_place(cluster):
    one = cluster(keep={"pinned": [1]}, training={"every_records": 1000})
    one.start("trainer")
    one.wait_until_said("trainer", "model_active")
    one.feed(one.lines[2400:])
    one.wait_until_said("trainer", "version_held_back")
    held = one.events_of("trainer", "version_held_back")[0]
    assert (held["version"], held["pinned"]) == (2, 1)
    assert [line["version"] for line in one.events_of("trainer", "model_active")] == [1]
    assert one.promoted() == [1]
