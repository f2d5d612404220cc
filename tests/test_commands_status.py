"""`streamad status`: what the feed's process is doing, and whether it went silent."""

from __future__ import annotations

import os

import pytest
from commands_help import HOSTILE, HOSTILE_SHOWN, NOW, Commands, config, fill, open_store, seen

from streamad.config import load_config
from streamad.state.directory import hold_state

SECOND = 1_000_000
COUNTERS = {
    "records_in": 1234,
    "scored": 1000,
    "rejected": 4,
    "held": 200,
    "in_flight": 30,
    "version": 2,
    "threshold": 0.001,
    "labels_applied": 1,
    "training": True,
    "failed_trainings": 3,
    "drift": {
        "alarms": {"bytes": 1, "service": 2},
        "last": {"record": 1000, "field": "service", "kind": "share", "expected": 0.0102, "found": 0.0497},
    },
    "unknown_fields": {"colour": 12},
    "progress": 0.25,
}


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    return Commands(tmp_path, capsys, monkeypatch)


@pytest.fixture
def later(monkeypatch):
    """Moves the clock of the command on: heartbeats are written at NOW."""

    def to(seconds):
        monkeypatch.setattr("streamad.runtime.clock.Clock.micros", lambda _clock: NOW + int(seconds * SECOND))

    return to


def beat(tmp_path, state="scoring", *, made_by="run", **counters):
    with open_store(tmp_path, made_by=made_by) as store:
        store.beat(4711, state, COUNTERS | counters)


def held(tmp_path, made_by="run"):
    schema = load_config(config(tmp_path)).schema_
    return hold_state(tmp_path / "net.state", feed="net", made_by=made_by, schema=schema)


def test_programs_get_one_object(tmp_path, command, later):
    fill(tmp_path, seen(1), seen(2, kind="random"))
    command("label", "net/log.csv:1", "anomaly")
    command("label", "net/log.csv:77", "normal")
    beat(tmp_path)
    later(12.34)
    with held(tmp_path):
        found = command.rows("status")
    assert found == [
        COUNTERS
        | {
            "feed": "net",
            "directory": str(tmp_path / "net.state"),
            "made_by": "run",
            "process": os.getpid(),
            "last_process": 4711,
            "state": "scoring",
            "heartbeat_seconds": 12.3,
            "stale": False,
            "alerts": 1,
            "to_look_at": 1,
            "mutes": {"in_force": 0, "alerts": 0},
            "labels": {"anomaly": 1, "normal": 1, "waiting": 1},
            "pool": 2,
        }
    ]


def test_people_see_ten_lines(tmp_path, command, later):
    fill(tmp_path, seen(1))
    command("label", "net/log.csv:1", "anomaly")
    command("label", "net/log.csv:77", "normal")
    beat(tmp_path, "warming_up")
    later(2)
    with held(tmp_path):
        shown = command.screen("status")
    assert shown == [
        f"feed      net, state {tmp_path / 'net.state'} (made by run)",
        f"process   {os.getpid()} is running",
        "state     warming up, last sign of life 2.0 s ago",
        "records   1,234 in = 1,000 scored + 4 rejected + 200 held + 30 in flight",
        "progress  25 %",
        "alerts    1 kept, 1 to look at; p-value under 0.001",
        "labels    1 anomaly, 1 normal; 1 applied; 1 wait for their record",
        "model     version 2, training the next, 3 failed trainings",
        "drift     service (share) 0.0497, usual 0.0102, at record 1,000; 3 so far",
        "ignored   unknown fields colour (12 times)",
    ]


def test_a_fresh_state_was_never_run(tmp_path, command):
    fill(tmp_path)
    assert command.screen("status") == [
        f"feed     net, state {tmp_path / 'net.state'} (made by run)",
        "process  not running",
        "state    never run",
    ]
    (found,) = command.rows("status")
    assert (found["state"], found["stale"], found["heartbeat_seconds"]) == ("never_run", False, None)


def test_a_daemon_that_went_silent_without_stopping_is_stale(tmp_path, command, later):
    beat(tmp_path)
    later(30)
    assert command.rows("status")[0]["stale"] is False
    later(30.1)
    assert command.rows("status", code=3)[0]["stale"] is True
    shown = command.screen("status", code=3)
    assert shown[1:3] == [
        "process   not running (the last was 4711)",
        "state     scoring, last sign of life 30.1 s ago: stale",
    ]


def test_a_daemon_that_stopped_is_not_stale(tmp_path, command, later):
    beat(tmp_path, "stopped")
    later(3600)
    assert command.rows("status")[0]["stale"] is False


def test_a_replay_that_was_ended_early_is_not_stale_and_one_that_hangs_is(tmp_path, command, later):
    beat(tmp_path, made_by="replay")
    later(3600)
    assert command.rows("status")[0]["stale"] is False
    with held(tmp_path, "replay"):
        assert command.rows("status", code=3)[0]["stale"] is True


def test_a_clock_that_went_back_makes_no_negative_age(tmp_path, command, later):
    beat(tmp_path)
    later(-60)
    assert command.rows("status")[0]["heartbeat_seconds"] == 0


def test_the_unknown_fields_met_most_often_are_named_harmlessly(tmp_path, command, later):
    fields = {f"f{n}": n for n in range(1, 8)} | {HOSTILE[:11]: 99}
    quiet = {"progress": None, "version": None, "training": False, "failed_trainings": 0, "drift": None}
    beat(tmp_path, unknown_fields=fields, **quiet)
    later(1)
    most = "(99 times), f7 (7 times), f6 (6 times), f5 (5 times), f4 (4 times) and 3 more"
    assert command.screen("status")[-2:] == [
        "model    none yet",
        f"ignored  unknown fields {HOSTILE_SHOWN[:18]} {most}",
    ]


def test_json_on_a_terminal_is_what_programs_get(tmp_path, command, later):
    beat(tmp_path)
    later(1)
    assert command.screen("status", "--json") == command("status").out.splitlines()


def test_bursts_and_mutes_are_counted(tmp_path, command, later):
    first = "alert of net/log.csv:1"
    repeats = {"net/log.csv:2": first, "net/log.csv:3": first}
    fill(tmp_path, *map(seen, range(1, 6)), repeats=repeats, muted={"net/log.csv:5": "1f"})
    beat(tmp_path, "scoring")
    later(0)
    command("mute", "user == bob", "--for", "1h", "--why", "x")
    shown = command.screen("status")
    assert "alerts    5 kept, 2 to look at; p-value under 0.001" in shown
    assert "mutes     1 in force, 1 alerts not sent" in shown
    later(3600)
    assert "mutes     0 in force, 1 alerts not sent" in command.screen("status", code=3)
