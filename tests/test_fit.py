"""`streamad fit`: a version made offline, and what of a state stays when its schema changes."""

from __future__ import annotations

import hashlib
import json
import random

import pytest
from inputs_help import FIELDS, feed  # noqa: F401  # a fixture

HEADER = "user,bytes,service,port\n"
WIDER = {"fields": FIELDS | {"port": "numeric"}}


def wide(count, *, first, odd=()):
    """CSV lines with a fourth column; those of the numbers `odd` are far off."""
    rng = random.Random(first)
    return "".join(
        f"u{n},{10**9 if n in odd else rng.randrange(1000)},{rng.choice(['http', 'dns'])},{rng.randrange(99)}\n"
        for n in range(first, first + count)
    )


@pytest.fixture
def daemon(feed):  # noqa: F811
    """The feed with a wider log, of which one field is not in the schema yet."""
    feed.tree |= {"limits": {"batch_records": 100}, "training": {"warm_up": {"records": 200}}}
    feed.tree["alerts"] = {"budget": 0.2}  # a small reference knows no small p-value
    feed.tree["schema"] = {"fields": FIELDS | {"port": "ignore"}}
    feed.write()
    feed.file("log.csv", HEADER + wide(400, first=0, odd=(310,)))
    return feed


def test_a_version_of_another_schema_takes_the_place_of_the_one_before_that_never_ran(daemon):
    daemon.call("fit")
    daemon.write(schema=WIDER)
    assert "port was ignore, is numeric (streamad fit --new-schema takes it over)" in daemon.refused(
        command="fit"
    )
    daemon.call("fit", "--new-schema")
    assert [(v["version"], v["status"]) for v in daemon.lines("models", "list")] == [
        (1, "retired"),
        (2, "active"),
    ]
    daemon.call("run")
    assert {alert["version"] for alert in daemon.lines("alerts")} == {2}


def test_positions_and_labels_outlast_a_new_schema(daemon):
    daemon.call("fit")
    daemon.call("run")
    before = daemon.lines("alerts", "--limit", "0")
    assert {alert["version"] for alert in before} == {1}
    daemon.call("label", before[0]["event_id"], "anomaly")
    daemon.call("run")
    (status,) = daemon.lines("status")
    assert (status["records_in"], status["labels_applied"]) == (400, 1)

    daemon.write(schema=WIDER)
    daemon.call("fit", "--new-schema")
    log = daemon.folder / "log.csv"
    log.write_text(log.read_text() + wide(200, first=400, odd=(450, 550)))
    daemon.call("run")
    (status,) = daemon.lines("status")
    assert (status["records_in"], status["labels_applied"], status["version"]) == (600, 1, 2)
    known = {alert["event_id"] for alert in before}
    after = [alert for alert in daemon.lines("alerts", "--limit", "0") if alert["event_id"] not in known]
    assert {"net/log.csv:452", "net/log.csv:552"} <= {alert["event_id"] for alert in after}
    assert {(alert["version"], alert["labels_applied"]) for alert in after} == {(2, 1)}


def test_a_daemon_whose_every_artifact_is_damaged_goes_on_after_a_fit(daemon):
    daemon.call("fit")
    tensors = daemon.state / "artifacts" / "000001" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[::-1])
    warning, said = daemon.call("run", code=2).err.splitlines()[-2:]
    assert json.loads(warning)["event"] == "artifact_unreadable"
    assert said == (
        f"streamad: no version in {daemon.state}/artifacts can be read; streamad fit makes a new one, "
        "run --state DIR begins in another state"
    )
    daemon.call("fit")
    daemon.call("run")
    assert {alert["version"] for alert in daemon.lines("alerts")} == {2}


@pytest.mark.parametrize("missing", ["schema", "detector", "encoder", "loss", "label_position", "version"])
def test_a_daemon_whose_manifest_lacks_something_says_what_and_ends(daemon, missing):
    daemon.call("fit")
    artifact = daemon.state / "artifacts" / "000001"
    tree = json.loads((artifact / "manifest.json").read_text())
    del tree[missing]
    text = json.dumps(tree).encode()
    (artifact / "manifest.json").write_bytes(text)
    (artifact / "manifest.sha256").write_bytes(hashlib.sha256(text).hexdigest().encode())
    warning, said = daemon.call("run", code=2).err.splitlines()[-2:]
    assert json.loads(warning)["reason"] == (
        f"artifact {artifact} is damaged: manifest.json: {missing}: Field required"
    )
    assert said.startswith(f"streamad: no version in {daemon.state}/artifacts can be read; ")
    daemon.call("models", "show", "1")
