"""Drift beside the engine: what it starts, what is said of it, and what a crash or an abort leaves of it."""

from __future__ import annotations

import numpy as np
import pytest
from engines import Sink, engine
from feeds import checkpoint, stored, write_log
from streamad_connectors.memory import Records
from structlog.testing import capture_logs

RECORDS, MOVED = 12_300, 10_700
TRAINING = {
    "warm_up": {"records": 600},
    "window": {"records": 1000},
    "every_records": None,
    "effect_after": 256,
    "drift": {"records": 400},
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Traffic without any order, of which three quarters come from another service from one record on."""
    drawn = write_log(tmp_path_factory.mktemp("lines"), 3000, share=0.0, junk=50)
    random = np.random.default_rng(0)
    lines = [drawn[row] for row in random.integers(0, len(drawn), RECORDS)]
    for row in MOVED + np.flatnonzero(random.random(RECORDS - MOVED) < 0.75):
        fields = lines[row].split(b",")
        if len(fields) == 42:
            fields[2] = b"ldap"
            lines[row] = b",".join(fields)
    return lines


def run(folder, lines, state, *, aborts=(), failing=None, **changes):
    """What a replay knows of drift in the end, its versions, and the drifts that its log tells."""
    seen = []

    def on_step(step):
        seen.append(step)
        if failing == (step, seen.count(step)):
            raise RuntimeError(step)

    training = TRAINING | changes
    with (
        capture_logs() as logs,
        engine(folder, [Records("p", lines)], state=state, training=training, on_step=on_step) as live,
    ):
        Sink(live, aborts)
        live.engine.run()
        status = live.engine.status()
    versions = stored(folder / state, "SELECT number, status, created_record FROM versions")
    return status.get("drift"), versions, [entry for entry in logs if entry["event"] == "drift"]


def test_a_drift_is_said_once_and_begins_a_training_but_swaps_nothing_by_itself(tmp_path, lines):
    drift, versions, said = run(tmp_path, lines, "state")
    assert drift["alarms"] == {"service": 1}
    assert [{name: entry[name] for name in drift["last"]} for entry in said] == [drift["last"]]
    assert MOVED < drift["last"]["record"] <= MOVED + 500
    assert drift["last"]["found"] > 0.3 > drift["last"]["expected"]
    begun = [number for _, _, number in versions]
    assert len(begun) == 2
    assert drift["last"]["record"] + 256 <= begun[1] <= drift["last"]["record"] + 1024 + 512
    assert run(tmp_path, lines, "quiet", drift={"records": 400, "retrain": False})[0] == drift
    assert len(stored(tmp_path / "quiet", "SELECT number FROM versions")) == 1
    assert run(tmp_path, lines, "off", drift=None)[::2] == (None, [])


def test_an_aborted_commit_and_a_failed_run_change_nothing_of_it(tmp_path, lines):
    drift, versions, _ = run(tmp_path, lines, "plain")
    assert run(tmp_path, lines, "aborts", aborts=(1, 3, 6, 7, 8))[:2] == (drift, versions)
    found = []
    for step in (("store.begun", 4), ("training_begun", 1), ("commit.5", 1)):
        with pytest.raises(RuntimeError):
            run(tmp_path, lines, "failed", failing=step)
        found.append(checkpoint(tmp_path / "failed", "drift")["alarms"])
    assert run(tmp_path, lines, "failed")[:2] == (drift, versions)
    assert found == [{}, {"service": 1}, {"service": 1}]
