"""Kill -9 wherever it hurts: what a replay then finds is what it would have found without."""

from __future__ import annotations

import time

import polars as pl
import pytest
from feeds import Driver, checkpoint, committed, stored_alerts, write_config, write_labels, write_log
from processes import say

from streamad.state.store import STEPS

pytestmark = pytest.mark.slow

RECORDS, RATE = 36_000, 2000
EVERY, EFFECT = 7000, 2500
COMMIT = [f"commit.{n}" for n in range(1, 7)] + [f"store.{step}" for step in STEPS]
TRAINING = {"every_records": EVERY, "effect_after": EFFECT}


class Plan:
    """Which kill comes next, given how far the replay is."""

    def __init__(self, state):
        self.state = state
        self.early = ["first_fit", "fitting", "artifact_write"]
        self.in_training = ["artifact_write", "artifact_write", "swap", "swap"]
        self.any_time = [step for step in COMMIT for _ in range(2)] + ["label_apply", "label_apply"]
        self.landed = []

    def next(self):
        learner = checkpoint(self.state, "learner")
        if learner is None:
            return {"step": self.early.pop(0), "after": 0, "version": 1} if self.early else self._common()
        training = learner["retraining"]
        left = training["begun_at"] + EFFECT - committed(self.state)
        in_time = training["under_way"] and left > 1200
        if self.in_training and (in_time or not self.any_time):
            return {"step": self.in_training.pop(0), "after": 1, "version": training["last_version"]}
        return self._common()

    def land(self, kill, before):
        self.landed.append((kill["step"], before, committed(self.state)))

    def _common(self):
        return {"step": self.any_time.pop(0), "after": 1} if self.any_time else None


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    lines = write_log(folder, RECORDS, junk=41)
    config = write_config(folder, training=TRAINING, limits={"commit_batches": 2})
    return folder, config, write_labels(folder, lines, 60)


def test_kills_at_every_step_of_the_commit_and_of_learning_leave_the_alerts_of_an_uninterrupted_run(feed):
    folder, config, labels = feed
    whole, killed = folder / "whole", folder / "killed"
    with Driver(folder) as driver:
        code, summary, log = driver.run(config, whole, labels=labels, scores=folder / "whole.parquet")
        assert code == 0, log
        plan, began = Plan(killed), time.monotonic()
        job = {"labels": labels, "rate": RATE, "scores": folder / "killed.parquet"}
        while kill := plan.next():
            before = committed(killed)
            code, _, log = driver.run(config, killed, kill=kill, **job)
            assert code == -9, (kill, plan.landed, log)
            plan.land(kill, before)
        code, resumed, log = driver.run(config, killed, **job)
        assert code == 0, log
    for number, (step, before, after) in enumerate(plan.landed, 1):
        say(f"kill {number:2}: {step:16} {before:6,} records committed before it, {after:6,} after")
    counting = [step for step, before, after in plan.landed if before < after < RECORDS]
    wanted = [*COMMIT, "artifact_write", "swap", "label_apply"]
    assert {step: counting.count(step) for step in wanted} == dict.fromkeys(wanted, 2)
    assert [step for step, *_ in plan.landed[:3]] == ["first_fit", "fitting", "artifact_write"]
    assert time.monotonic() - began >= 60
    alerts = stored_alerts(whole)
    assert len(alerts) >= 1000
    assert stored_alerts(killed) == alerts
    timed = ("seconds", "scoring_seconds", "training_seconds", "records_per_second", "records_per_second_all")
    assert {k: v for k, v in resumed.items() if k not in timed} == {
        k: v for k, v in summary.items() if k not in timed
    }
    assert summary["versions"] >= 4
    assert summary["labels"] == 60
    scores = pl.read_parquet(folder / "killed.parquet")
    assert scores.equals(pl.read_parquet(folder / "whole.parquet"))
    assert len(scores) == RECORDS
