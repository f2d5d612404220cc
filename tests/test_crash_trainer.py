"""Trainers that are killed, parents that are killed, artifacts that are damaged: scoring goes on."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from feeds import Driver, checkpoint, committed, stored, write_config, write_labels, write_log
from processes import alive, say, start, stop, trainers, wait_for

pytestmark = pytest.mark.slow

VERSIONS = "SELECT number, status, created_record FROM versions ORDER BY number"


def gone_within(pid, seconds):
    began = time.monotonic()
    while alive(pid):
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def training(state):
    learner = checkpoint(state, "learner")
    return learner and learner["retraining"]["under_way"]


def trainer_of(process, state):
    wait_for(lambda: training(state) and trainers(process.pid), process)
    return trainers(process.pid)[0]


def test_a_replay_whose_trainer_is_killed_counts_it_waits_twice_as_long_and_ends_well(tmp_path):
    write_log(tmp_path, 18_000)
    config = write_config(tmp_path, training={"every_records": 3000, "effect_after": 2000})
    process = start("replay", config, "--rate", "2500", log=tmp_path / "log")
    os.kill(trainer_of(process, tmp_path / "feed.state"), signal.SIGKILL)
    assert process.wait(60) == 0
    (one, two, three, *_) = stored(tmp_path / "feed.state", VERSIONS)
    assert (one[:2], two[:2], three[0]) == ((1, "retired"), (2, "failed"), 3)
    assert two[2] + 6000 <= three[2] <= two[2] + 7024
    assert three[1] == "retired"
    assert "killed by signal 9" in (tmp_path / "log").read_text()
    assert committed(tmp_path / "feed.state") == 18_000


def test_without_a_first_model_there_is_nothing_to_go_on_with(tmp_path):
    write_log(tmp_path, 4000)
    process = start("replay", write_config(tmp_path), log=tmp_path / "log")
    wait_for(lambda: trainers(process.pid), process)
    os.kill(trainers(process.pid)[0], signal.SIGKILL)
    assert process.wait(10) == 3
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert last == (
        "streamad: the first model could not be fitted: the trainer process was killed by signal 9"
    )
    assert start("replay", tmp_path / "feed.yaml", log=tmp_path / "log").wait(30) == 0
    assert committed(tmp_path / "feed.state") == 4000


@pytest.fixture
def daemon(tmp_path):
    """A daemon on endless traffic, in training for the second time."""
    config = write_config(tmp_path, training={"warm_up": {"records": 1000}, "every_records": 2000})
    tree = (
        config.read_text()
        .replace("type: files", "type: generator")
        .replace("  paths:\n  - kdd.log\n", "  rate: 1500\n")
    )
    config.write_text(tree)
    process = start("run", config, log=tmp_path / "log")
    yield process, tmp_path / "feed.state", config
    if process.poll() is None:
        process.kill()
        process.wait()


def test_a_daemon_goes_on_when_its_trainer_is_killed_and_takes_labels_meanwhile(daemon, tmp_path):
    process, state, config = daemon
    trainer = trainer_of(process, state)
    records = committed(state)
    os.kill(trainer, signal.SIGKILL)
    wait_for(lambda: not training(state) and committed(state) > records, process)
    assert checkpoint(state, "learner")["retraining"]["failures"] == 1
    assert (2, "failed") in [row[:2] for row in stored(state, VERSIONS)]

    events = [event for (event,) in stored(state, "SELECT event_id FROM alerts LIMIT 12")]
    for event in events[:2]:
        assert start("label", config, event, "anomaly", log=tmp_path / "label").wait(30) == 0
    file = tmp_path / "given.ndjson"
    file.write_text("".join(json.dumps({"event_id": e, "label": "normal"}) + "\n" for e in events[2:]))
    assert start("label", config, "--from", file, log=tmp_path / "label").wait(30) == 0
    wait_for(lambda: stored(state, "SELECT count(*) FROM label_log") == [(12,)], process)
    taught = dict(stored(state, "SELECT event_id, verdict FROM label_log"))
    assert taught == {e: "anomaly" if e in events[:2] else "normal" for e in events}
    last = stored(state, "SELECT max(n) FROM alerts")[0][0]
    later = f"SELECT line FROM alerts WHERE n > {last + 30} LIMIT 1"
    wait_for(lambda: stored(state, later), process)
    alert = json.loads(stored(state, later)[0][0])
    assert alert["labels_applied"] == 12
    assert 0 < alert["anomaly_probability"] < 1
    code, seconds = stop(process, signal.SIGTERM)
    say(f"SIGTERM while the generator runs: {seconds:.2f} s")
    assert (code, seconds < 5) == (0, True)


def test_no_trainer_outlives_its_parent(daemon):
    process, state, _ = daemon
    wait_for(lambda: trainers(process.pid), process)
    trainer = trainers(process.pid)[0]
    process.kill()
    process.wait()
    say(f"the first trainer ended {gone_within(trainer, 5):.2f} s after its parent")
    process = start("run", state.parent / "feed.yaml", log=state.parent / "log")
    trainer = trainer_of(process, state)
    process.kill()
    process.wait()
    say(f"the second trainer ended {gone_within(trainer, 5):.2f} s after its parent")


def test_a_damaged_newest_artifact_is_named_and_the_one_before_scores(tmp_path):
    lines = write_log(tmp_path, 16_000)
    config = write_config(tmp_path, training={"every_records": 5000, "effect_after": 1500})
    labels, state = write_labels(tmp_path, lines, 20), tmp_path / "state"
    with Driver(tmp_path) as driver:
        kill = {"step": "store.committed", "after": 8}
        code, _, log = driver.run(config, state, labels=labels, kill=kill)
        assert (code, checkpoint(state, "learner")["version"]) == (-9, 2), log
        before = committed(state)
        tensors = state / "artifacts/000002/tensors.safetensors"
        content = bytearray(tensors.read_bytes())
        content[len(content) // 2] ^= 1
        tensors.write_bytes(content)
        code, summary, log = driver.run(config, state, labels=labels)
    assert code == 0, log
    assert "artifact_unreadable" in log
    assert (summary["records_in"], summary["scored"]) == (16_000, 16_000)
    assert [row[:2] for row in stored(state, VERSIONS)][1] == (2, "corrupted")
    versions = stored(
        state,
        f"SELECT DISTINCT json_extract(line, '$.version') FROM alerts WHERE record_number >= {before} ORDER BY n",
    )
    assert versions == [(1,), (3,)]
