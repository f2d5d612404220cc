"""The past beside the engine: what trainings take of it, and what a crash or an abort leaves of it."""

from __future__ import annotations

import json

import pytest
from engines import Sink, engine
from feeds import stored, write_log
from streamad_connectors.memory import Records

TRAINING = {
    "warm_up": {"records": 600},
    "window": {"records": 1000, "past": 400},
    "every_records": 1500,
    "effect_after": 256,
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("lines"), 9000, junk=50)


def run(folder, lines, state, *, failing=None, aborts=(), training=TRAINING):
    """The manifests of all versions, and what was saved last."""
    seen = []

    def on_step(step):
        seen.append(step)
        if failing == (step, seen.count(step)):
            raise RuntimeError(step)

    quick = {"training": training, "detector": {"min_steps": 20}}
    with engine(folder, [Records("p", lines)], state=state, on_step=on_step, **quick) as live:
        Sink(live, aborts)
        live.engine.run()
    manifests = sorted((folder / state / "artifacts").glob("*/manifest.json"))
    saved = stored(folder / state, "SELECT value FROM checkpoint WHERE name = 'past'")
    return [json.loads(path.read_text()) for path in manifests], saved


def test_trainings_take_rows_of_the_past_beside_the_window_and_say_how_many(tmp_path, lines):
    manifests, _ = run(tmp_path, lines, "state")
    data = [manifest["data"] for manifest in manifests]
    assert data[0]["past_rows"] == 0
    assert [one["rows"] for one in data[1:]] == [1000] * (len(data) - 1)
    assert all(0 < one["past_rows"] <= 250 for one in data[2:])
    assert data[-1]["past_rows"] > data[2]["past_rows"]


def test_a_feed_that_crashed_anywhere_learns_from_the_same_rows_of_the_past(tmp_path, lines):
    manifests, saved = run(tmp_path, lines, "whole")
    steps = [
        ("store.committed", 3),
        ("commit.4", 2),
        ("training_begun", 1),
        ("store.positions", 1),
        ("swap", 2),
    ]
    for step in steps:
        with pytest.raises(RuntimeError):
            run(tmp_path, lines, "crashed", failing=step)
    assert run(tmp_path, lines, "crashed") == (manifests, saved)


def test_aborted_commits_leave_no_trace_in_it(tmp_path, lines):
    assert run(tmp_path, lines, "aborted", aborts=(2, 3, 9)) == run(tmp_path, lines, "whole")


def test_without_a_past_trainings_take_the_window_alone(tmp_path, lines):
    manifests, saved = run(
        tmp_path, lines, "state", training=TRAINING | {"window": {"records": 1000, "past": 0}}
    )
    assert [manifest["data"]["past_rows"] for manifest in manifests] == [0] * len(manifests)
    assert saved == []
