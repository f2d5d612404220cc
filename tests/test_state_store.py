"""The store: one transaction a commit, all of it or nothing of it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from streamad.errors import StateError, UserError
from streamad.ports import Commit
from streamad.state.options import KeepOptions
from streamad.state.queries import Counts, Heartbeat, Line, Reader
from streamad.state.schema import dump
from streamad.state.store import STEPS, Store
from streamad.state.times import format_time, parse_time
from streamad.state.versions import Request

DAY = 86_400_000_000
NOW = parse_time("2026-01-01T00:00:00Z")


def open_store(path, *, made_by="run", now=NOW, **options):
    return Store(Path(path) / "store.db", feed="kdd", made_by=made_by, clock=lambda: now, **options)


def alert(number, *, key=None, at=NOW):
    return {
        "format": 1,
        "event_id": f"kdd/k.csv:{number}",
        "key": key,
        "scored_at": format_time(at),
        "p_value": 0.001,
        "record": {"bytes": number, "text": "ü\x1b[31m"},
    }


def rejected(number, reason="empty"):
    return {"position": f"k.csv:{number}", "reason": reason, "bytes_base64": ""}


def pooled(number, kind="random", *, key=None, record=None):
    return {
        "event_id": f"kdd/k.csv:{number}",
        "key": key,
        "kind": kind,
        "record_number": number,
        "score": 1.5,
        "p_value": 0.25,
        "probability": None,
        "signature": "SF",
        "reasons": [{"field": "bytes", "value": 1, "share": 0.5}],
        "record": record or {"bytes": number},
    }


def full_commit(number):
    return Commit(
        positions={"k.csv": {"line": number}},
        records=number,
        alerts=[alert(number)],
        rejected=[rejected(number)],
        pool=[pooled(number, "alert")],
        checkpoint={"engine": {"records": number}, "head": bytes([number])},
        alert_numbers=[number],
        versions=[{"number": number, "status": "active"}],
    )


def everything(reader):
    return (
        [json.loads(line.text)["event_id"] for line in reader.alerts()],
        [json.loads(line.text)["position"] for line in reader.rejected()],
        [row.event_id for row in reader.queue_rows()],
        [version.number for version in reader.versions()],
        reader.counts().records,
    )


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def reader(store, tmp_path):
    assert store
    with Reader(tmp_path / "store.db") as opened:
        yield opened


def test_a_new_store_has_nothing_to_restore_and_a_reader_refuses_a_missing_one(store, tmp_path):
    assert store.restore() is None
    with pytest.raises(StateError, match=r"no state yet in .*elsewhere: run or replay first"):
        Reader(tmp_path / "elsewhere" / "store.db")


def test_what_was_committed_is_restored_and_absent_checkpoint_names_keep_what_they_had(store):
    store.commit(
        Commit(
            {"a": {"line": 1}, "b": {"line": 2}}, 3, checkpoint={"x": {"n": [1.5, None]}, "raw": b"\0\xff"}
        )
    )
    store.commit(Commit({"a": {"line": 9}}, 7, checkpoint={"x": 8}))
    assert store.restore() == ({"a": {"line": 9}}, {"x": 8, "raw": b"\0\xff"})
    assert store.counts().records == 7


def test_alerts_and_rejected_entries_come_out_as_they_went_in_and_in_order(store, reader):
    store.commit(Commit({}, 2, alerts=[alert(1), alert(2, key="k")], rejected=[rejected(3, "too_long")]))
    assert reader.alerts() == [Line(1, dump(alert(1))), Line(2, dump(alert(2, key="k")))]
    assert (
        reader.alerts(after=1)
        == reader.last_alerts(1)
        == reader.alert("k")
        == [Line(2, dump(alert(2, key="k")))]
    )
    assert reader.alert("kdd/k.csv:1") == [Line(1, dump(alert(1)))]
    assert reader.rejected() == [Line(1, dump(rejected(3, "too_long")))]
    assert reader.rejected_reasons() == {"too_long": 1}
    assert reader.counts() == Counts(2, 2, 1, 0, 0, 0, 0)


def test_text_that_sqlite_cannot_hold_is_stored_as_escapes(store, reader):
    row = pooled(1, key="\ud800") | {"record": {"\udfff": "\ud800\0"}}
    store.commit(Commit({}, 1, alerts=[alert(2) | {"key": "\ud800"}], pool=[row]))
    assert [json.loads(line.text)["key"] for line in reader.alert("\ud800")] == ["\ud800"]
    assert [found.record for found in reader.pool_event("\ud800")] == [{"\udfff": "\ud800\0"}]


def test_an_event_that_is_committed_twice_is_our_bug_and_leaves_no_trace(store, reader):
    store.commit(full_commit(1))
    with pytest.raises(sqlite3.IntegrityError):
        store.commit(Commit({}, 2, alerts=[alert(2), alert(1)]))
    assert everything(reader) == (["kdd/k.csv:1"], ["k.csv:1"], ["kdd/k.csv:1"], [1], 1)
    store.commit(full_commit(2))
    assert reader.counts().alerts == 2


def test_the_steps_of_a_commit_are_the_documented_ones_in_their_order(tmp_path):
    steps = []
    with open_store(tmp_path, on_step=steps.append) as store:
        store.commit(full_commit(1))
    assert tuple(steps) == STEPS


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from test_state_store import full_commit, open_store
step = sys.argv[3]
armed = []
def hook(name):
    if armed and name == step:
        os.kill(os.getpid(), signal.SIGKILL)
store = open_store(sys.argv[2], on_step=hook)
store.commit(full_commit(1))
armed.append(True)
store.commit(full_commit(2))
"""


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_of_a_commit_leaves_all_of_it_or_nothing(tmp_path, step):
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path), step]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    expected = 2 if step in ("committed", "told") else 1
    with open_store(tmp_path) as store:
        numbers = range(1, expected + 1)
        assert everything(store) == (
            [f"kdd/k.csv:{n}" for n in numbers],
            [f"k.csv:{n}" for n in numbers],
            [f"kdd/k.csv:{n}" for n in reversed(numbers)],
            list(numbers),
            expected,
        )
        assert store.restore() == (
            {"k.csv": {"line": expected}},
            {"engine": {"records": expected}, "head": bytes([expected])},
        )
        store.commit(full_commit(3))


def test_the_files_are_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        with open_store(tmp_path) as store:
            store.commit(full_commit(1))
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def test_every_commit_is_synced_to_the_disk_in_wal_mode(store):
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_damaged_a_foreign_and_a_newer_store_are_named(tmp_path):
    path = tmp_path / "store.db"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(StateError, match=r"store\.db is damaged or is no store"):
        open_store(tmp_path)
    path.unlink()
    open_store(tmp_path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    for opener in (lambda: open_store(tmp_path), lambda: Reader(path)):
        with pytest.raises(StateError, match="has format 2, this streamad reads format 1"):
            opener()


def test_a_reader_cannot_write_and_works_beside_the_writer(store, reader):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM alerts")
    store.commit(full_commit(1))
    assert reader.counts().alerts == 1


def test_the_heartbeat_is_the_last_one(store, reader):
    assert reader.heartbeat() is None
    store.beat(41, "warming_up", {})
    store.beat(42, "scoring", {"in": 3})
    assert reader.heartbeat() == Heartbeat(42, "scoring", NOW, {"in": 3})


def test_an_event_is_found_by_its_id_or_by_its_key_with_all_candidates(store, reader):
    store.commit(
        Commit(
            {},
            3,
            alerts=[alert(1, key="a")],
            pool=[pooled(1, key="a"), pooled(2, key="a"), pooled(3, key="b")],
        )
    )
    assert reader.resolve("kdd/k.csv:2") == ["kdd/k.csv:2"]
    assert reader.resolve("a") == ["kdd/k.csv:1", "kdd/k.csv:2"]
    assert reader.resolve("b") == [row.event_id for row in reader.pool_event("b")] == ["kdd/k.csv:3"]
    assert reader.resolve("c") == []


# ---- versions and requests ----------------------------------------------------------------------------------


def test_a_version_keeps_what_a_change_does_not_name_and_one_is_active(store):
    store.put_version({"number": 1, "status": "active", "created_record": 100, "numbers": {"ap": 0.5}})
    store.commit(Commit({}, 1, versions=[{"number": 2, "parent": 1, "created_record": 200}]))
    store.commit(Commit({}, 2, versions=[{"number": 2, "status": "active", "numbers": {"ap": 0.6}}]))
    found = [(v.number, v.status, v.created_record, v.parent, v.numbers, v.kept) for v in store.versions()]
    assert found == [
        (1, "retired", 100, None, {"ap": 0.5}, True),
        (2, "active", 200, 1, {"ap": 0.6}, True),
    ]
    assert store.active_version().number == 2


def test_requests_reach_the_engine_once_and_stay_until_they_are_handled(store, tmp_path):
    store.commit(Commit({}, 1, versions=[{"number": 1}, {"number": 2, "parent": 1, "status": "active"}]))
    news = store.news()
    with open_store(tmp_path) as command:
        command.ask("rollback")
        command.ask("promote", 2)
    news = store.news(news.cursor)
    assert news.requests == [Request(1, "rollback", 1), Request(2, "promote", 2)]
    assert store.news(news.cursor) is None
    store.commit(Commit({}, 2, handled=[1]))
    store.dismiss([2])
    assert store.news().requests == []


@pytest.mark.parametrize(
    ("command", "number", "sentence"),
    [
        ("rollback", None, "no version to roll back to"),
        ("promote", 9, "there is no version 9"),
        ("promote", 2, "version 2 cannot be used: it is corrupted"),
    ],
)
def test_a_request_that_cannot_be_had_is_refused_at_once(store, command, number, sentence):
    store.commit(
        Commit({}, 1, versions=[{"number": 1, "status": "active"}, {"number": 2, "status": "corrupted"}])
    )
    with pytest.raises(UserError, match=sentence):
        store.ask(command, number)


# ---- retention ----------------------------------------------------------------------------------------------


def test_old_rows_go_and_young_ones_stay(tmp_path):
    with open_store(tmp_path, now=NOW - 8 * DAY) as store:
        store.commit(
            Commit(
                {},
                2,
                alerts=[alert(1, at=NOW - 91 * DAY), alert(2, at=NOW - 89 * DAY)],
                rejected=[rejected(1)],
            )
        )
    with open_store(tmp_path) as store:
        store.commit(Commit({}, 3, rejected=[rejected(2)]))
        pruned = store.prune(KeepOptions(), tmp_path)
        assert (pruned.alerts, pruned.rejected, pruned.versions, pruned.over_size) == (1, 1, (), False)
        assert everything(store)[:2] == (["kdd/k.csv:2"], ["k.csv:2"])


def test_a_store_over_its_size_drops_its_oldest_rows_a_little_at_a_time_and_says_so_once(store, tmp_path):
    for batch in range(3):
        numbers = range(batch * 1500, (batch + 1) * 1500)
        store.commit(
            Commit({}, 1, alerts=[alert(n) for n in numbers], rejected=[rejected(n) for n in numbers])
        )
    with structlog.testing.capture_logs() as logs:
        pruned = store.prune(KeepOptions(max_gb=1e-4), tmp_path)
    assert (pruned.alerts, pruned.rejected, pruned.over_size) == (2000, 2000, True)
    assert json.loads(store.alerts(limit=1)[0].text)["event_id"] == "kdd/k.csv:2000"
    with structlog.testing.capture_logs() as more:
        while store.prune(KeepOptions(max_gb=1e-4), tmp_path).over_size:
            pass
    assert ([entry["event"] for entry in logs], more) == (["store_over_size"], [])
    assert store.counts().alerts == 0


def test_files_of_surplus_versions_go_but_never_the_active_one_or_its_parent(store, tmp_path):
    for number in range(1, 7):
        (tmp_path / f"{number:06d}").mkdir()
        store.put_version({"number": number, "parent": number - 1})
    store.put_version({"number": 2, "status": "active"})
    assert store.prune(KeepOptions(versions=2), tmp_path).versions == (3, 4)
    assert sorted(path.name for path in tmp_path.glob("0*")) == ["000001", "000002", "000005", "000006"]
    assert [version.number for version in store.versions() if not version.kept] == [3, 4]
    with pytest.raises(UserError, match="files of version 3 were removed"):
        store.ask("promote", 3)


def test_files_of_versions_that_are_pinned_stay(store, tmp_path):
    for number in range(1, 7):
        store.put_version({"number": number})
    assert store.prune(KeepOptions(versions=2, pinned=(2, 9)), tmp_path).versions == (1, 3, 4)


def test_files_of_a_version_stay_as_long_as_people_pin_it(store, tmp_path):
    for number in range(1, 7):
        store.put_version({"number": number})
    store.pin(2)
    assert store.prune(KeepOptions(versions=2), tmp_path).versions == (1, 3, 4)
    store.unpin(2)
    assert store.prune(KeepOptions(versions=2), tmp_path).versions == (2,)


def test_starting_anew_forgets_everything_but_the_labels(tmp_path):
    with open_store(tmp_path, made_by="replay") as store:
        store.commit(full_commit(1))
        store.add_labels([{"event_id": "kdd/k.csv:1", "label": "anomaly"}])
        store.start_anew()
        assert store.restore() is None
        assert everything(store) == ([], [], [], [], 0)
        assert store.counts() == Counts(0, 0, 0, 1, 0, 1, 0)
        assert store.news().waiting == ["kdd/k.csv:1"]
        store.commit(full_commit(1))
        assert [line.n for line in store.alerts()] == [1]
