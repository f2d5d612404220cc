"""A version that people pinned: what trainings, requests and restarts do while it scores."""

from __future__ import annotations

import pytest
from engines import engine
from feeds import FEED, stored, write_log
from streamad_connectors.memory import Records
from structlog.testing import capture_logs

from streamad.state.store import Store

QUICK = {
    "training": {
        "warm_up": {"records": 600},
        "window": {"records": 1000},
        "every_records": 1500,
        "effect_after": 256,
    },
    "detector": {"min_steps": 20},
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("lines"), 9000)


def run(folder, lines, acts, *, failing=None):
    """Statuses by version, and what the log said; `acts` are done with a store after commits of these numbers."""
    seen = []

    def on_step(step):
        seen.append(step)
        if step == "commit.5" and (act := acts.get(seen.count(step))):
            with Store(live.state.store, feed=FEED, made_by="replay", clock=lambda: 0) as store:
                act(store)
        if failing == (step, seen.count(step)):
            raise RuntimeError(step)

    with capture_logs() as logs, engine(folder, [Records("p", lines)], on_step=on_step, **QUICK) as live:
        live.engine.run()
    held = [(one["version"], one["pinned"]) for one in logs if one["event"] == "version_held_back"]
    active = [one["version"] for one in logs if one["event"] == "model_active"]
    return dict(stored(folder / "state", "SELECT number, status FROM versions")), held, active


def test_no_training_takes_the_place_of_a_pinned_version_until_it_is_unpinned(tmp_path, lines):
    acts = {1: lambda store: store.pin(1), 6: lambda store: store.unpin(1)}
    statuses, held, active = run(tmp_path, lines, acts)
    assert statuses == {1: "retired", 2: "candidate", 3: "candidate", 4: "retired", 5: "active"}
    assert held == [(2, 1), (3, 1)]
    assert active == [1, 4, 5]


def test_people_may_still_go_to_another_version_and_then_trainings_take_over_again(tmp_path, lines):
    acts = {1: lambda store: store.pin(1), 4: lambda store: store.ask("promote", 2)}
    statuses, held, active = run(tmp_path, lines, acts)
    assert held == [(2, 1)]
    assert active == [1, 2, 3, 4, 5]
    assert statuses == {1: "retired", 2: "retired", 3: "retired", 4: "retired", 5: "active"}


def test_a_version_is_still_pinned_after_a_crash(tmp_path, lines):
    with pytest.raises(RuntimeError):
        run(tmp_path, lines, {1: lambda store: store.pin(1)}, failing=("training_begun", 1))
    statuses, held, active = run(tmp_path, lines, {})
    assert set(statuses.values()) == {"active", "candidate"}
    assert statuses[1] == "active"
    assert held[0] == (2, 1)
    assert active == []
