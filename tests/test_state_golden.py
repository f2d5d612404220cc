"""States and artifacts of format 1, written once and kept: every later streamad reads them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from test_state_store import NOW, alert, open_store, rejected

from streamad.state.artifacts import read_artifact
from streamad.state.directory import find_state
from streamad.state.labels import LogEntry
from streamad.state.pool import PoolRow
from streamad.state.queries import Counts, Heartbeat
from streamad.state.versions import Request, Version

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def state(tmp_path):
    shutil.copy(GOLDEN / "state_1" / "format.json", tmp_path)
    db = sqlite3.connect(tmp_path / "store.db")
    db.executescript((GOLDEN / "state_1" / "store.sql").read_text(encoding="utf-8"))
    db.execute("PRAGMA user_version = 1")
    db.close()
    return find_state(tmp_path)


def test_an_artifact_of_format_1_is_read():
    manifest, tensors = read_artifact(GOLDEN / "artifact_1")
    del manifest["tensors"]
    assert manifest == {"format": 1, "version": 7, "parent": 6, "values": {"flag": ["", "SF", "ü"]}}
    assert tensors["weight"].dtype == np.float32
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        "weight": [[0, 1, 2], [3, 4, 5]],
        "count": [3],
    }


def test_a_state_of_format_1_is_read(state):
    assert (state.feed, state.made_by) == ("kdd", "run")
    assert state.schema == {
        "fields": [["bytes", "numeric"], ["flag", "categorical"], ["at", "time"]],
        "time": {"field": "at", "format": "iso", "zone": "UTC"},
    }


def test_a_store_of_format_1_is_read(state):
    with open_store(state.path) as store:
        assert store.restore() == ({"k.csv": {"line": 2}}, {"engine": {"records": 1}, "head": b"\1"})
        assert [json.loads(line.text) for line in store.alerts()] == [alert(1)]
        assert [json.loads(line.text) for line in store.rejected()] == [rejected(1), rejected(2)]
        assert store.counts() == Counts(2, 1, 2, 1, 1, 1, 1)
        assert store.log_after() == [LogEntry(1, 1, "kdd/k.csv:1", "anomaly", 2, '{"bytes":1}')]
        assert store.versions() == [Version(1, "active", None, NOW, None, {}, kept=True)]
        assert store.news().requests == [Request(1, "promote", 1)]
        assert store.news().waiting == ["kdd/k.csv:9"]
        assert store.heartbeat() == Heartbeat(42, "scoring", NOW, {"in": 2})
        assert store.outbox_mark("file") == (1, {"size": 3})
        (row,) = store.pool_event("kdd/k.csv:1")
        texts = row.reasons_json, row.record_json
        assert row == PoolRow(1, "kdd/k.csv:1", None, "alert", 1, 1.5, 0.25, None, "SF", *texts, labeled=True)
        assert row.reasons == [{"field": "bytes", "value": 1, "share": 0.5}]
        assert row.record == {"bytes": 1}
        assert store.labels_of("kdd/k.csv:1") == [
            {
                "event_id": "kdd/k.csv:1",
                "label": "anomaly",
                "analyst": "ann",
                "labeled_at": "2025-12-31T23:00:00.000Z",
                "note": "scan",
            }
        ]


def test_a_store_made_today_has_the_tables_of_format_1(state, tmp_path):
    (tmp_path / "new").mkdir()

    def tables(path):
        with open_store(path) as store:
            rows = store._db.execute(
                "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
            )
            return {row["name"]: row["sql"] for row in rows}

    assert tables(tmp_path / "new") == tables(state.path)
