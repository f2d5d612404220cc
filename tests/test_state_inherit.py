"""``run --from``: models and labels come along, positions do not."""

from __future__ import annotations

import numpy as np
import pytest
from test_state_store import alert, open_store

from streamad.errors import StateError
from streamad.ports import Commit
from streamad.records.schema import Schema
from streamad.state.artifacts import read_artifact, write_artifact
from streamad.state.directory import hold_state
from streamad.state.inherit import inherit
from streamad.state.labels import LogEntry

SCHEMA = Schema.model_validate({"fields": {"bytes": "numeric"}})
OTHER = Schema.model_validate({"fields": {"bytes": "categorical"}})


@pytest.fixture
def replayed(tmp_path):
    with hold_state(tmp_path / "replay", feed="kdd", made_by="replay", schema=SCHEMA) as held:
        write_artifact(held.state.artifact(1), {"version": 1}, {"w": np.ones(2)})
        with open_store(held.state.path, made_by="replay") as store:
            store.add_labels(
                [
                    {"event_id": "kdd/k.csv:1", "label": "anomaly"},
                    {"event_id": "kdd/k.csv:9", "label": "normal"},
                ]
            )
            met = {"event_id": "kdd/k.csv:1", "record": {"bytes": 1}, "record_number": 0}
            applied = {"label_id": 1, "event_id": "kdd/k.csv:1", "verdict": "anomaly", "record_number": 1}
            store.commit(
                Commit(
                    {"k.csv": {"line": 1}},
                    1,
                    alerts=[alert(1)],
                    attached=[met],
                    applied=[applied],
                    checkpoint={"engine": 1},
                    versions=[{"number": 1, "status": "active", "numbers": {"ap": 0.5}}],
                )
            )
        yield held.state


def daemon(tmp_path, schema=SCHEMA):
    return hold_state(tmp_path / "run", feed="kdd", made_by="run", schema=schema)


def test_a_daemon_takes_over_models_and_labels_but_no_positions_or_alerts(replayed, tmp_path):
    with daemon(tmp_path) as held:
        inherit(replayed, held.state)
        with open_store(held.state.path) as store:
            assert store.restore() is None
            assert (store.counts().alerts, store.counts().labels, store.counts().waiting) == (0, 2, 1)
            assert store.log_after(0) == [LogEntry(1, 1, "kdd/k.csv:1", "anomaly", 0, '{"bytes":1}')]
            assert (store.active_version().number, store.active_version().numbers) == (1, {"ap": 0.5})
            assert store.news().changes == []
            store.add_labels([{"event_id": "kdd/k.csv:5", "label": "normal", "record": {"bytes": 5}}])
            assert [change.event_id for change in store.news().changes] == ["kdd/k.csv:5"]
        assert read_artifact(held.state.artifact(1))[1]["w"].tolist() == [1, 1]


def test_it_is_refused_twice_and_for_another_schema(replayed, tmp_path):
    with daemon(tmp_path) as held:
        inherit(replayed, held.state)
        with pytest.raises(StateError, match="already has a model: --from needs a new state"):
            inherit(replayed, held.state)
    with (
        hold_state(tmp_path / "other", feed="kdd", made_by="run", schema=OTHER) as held,
        pytest.raises(StateError, match="has another schema than"),
    ):
        inherit(replayed, held.state)
