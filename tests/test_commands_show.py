"""`streamad show`: one event, alert or not."""

from __future__ import annotations

import pytest
from commands_help import HOSTILE, HOSTILE_SHOWN, Commands, fill, open_store, seen

REASONS = [{"field": "bytes", "value": 54540, "share": 0.414}]
RECORD = {"user": None, "bytes": 54540, "service": "http"}


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    return Commands(tmp_path, capsys, monkeypatch)


def give(tmp_path, number, verdict, **more):
    with open_store(tmp_path) as store:
        store.add_labels([{"event_id": f"net/log.csv:{number}", "label": verdict, **more}])


def test_an_alert_is_shown_with_its_scores_reasons_labels_and_record(tmp_path, command):
    fill(tmp_path, seen(1, probability=0.9))
    give(tmp_path, 1, "anomaly", analyst="ann", note="seen before")
    give(tmp_path, 1, "normal", analyst="bob")
    labels = [
        {"label": "anomaly", "analyst": "ann", "note": "seen before"},
        {"label": "normal", "analyst": "bob", "note": ""},
    ]
    given = {"event_id": "net/log.csv:1", "labeled_at": "2026-01-01T00:00:00.000Z"}
    assert command.rows("show", "net/log.csv:1") == [
        {
            "event_id": "net/log.csv:1",
            "key": None,
            "alert": True,
            "verdict": "normal",
            "labels": [given | label for label in labels],
            "score": 5.0,
            "p_value": 0.0001,
            "threshold": 0.001,
            "anomaly_probability": 0.9,
            "detector": "dp_vae",
            "version": 3,
            "labels_applied": 2,
            "event_time": None,
            "scored_at": "2026-01-01T00:00:00.000Z",
            "reasons": REASONS,
            "record": RECORD,
        }
    ]


def test_people_see_an_alert_in_words(tmp_path, command):
    fill(tmp_path, seen(1, key="bob", probability=0.9))
    give(tmp_path, 1, "anomaly", analyst="ann", note="again")
    assert command.screen("show", "bob") == [
        "event     net/log.csv:1",
        "key       bob",
        "verdict   anomaly",
        "p-value   0.0001, under the threshold 0.001",
        "score     5",
        "anomaly?  90 %",
        "model     version 3 (dp_vae, 2 labels applied)",
        "scored    2026-01-01T00:00:00.000Z",
        "label     anomaly by ann, 2026-01-01T00:00:00.000Z: again",
        "why",
        "   41 %  bytes  54,540",
        "record",
        "  user     bob",
        "  bytes    54540",
        "  service  http",
    ]


def test_each_reason_is_a_line_that_sets_the_value_beside_what_is_usual(tmp_path, command):
    reasons = [
        {
            "field": "bytes",
            "value": 54540,
            "share": 0.41,
            "usual": [100, 400.25],
            "with": ["packets", "rate"],
        },
        {"field": "flag", "value": "S0", "share": 0.3, "usual": ["SF", "S1"], "with": []},
        {"field": "skew", "value": None, "share": 0.09, "usual": [-2, 1.23456], "with": []},
        {"field": "login", "value": True, "share": 0.08, "usual": [False, False], "with": []},
        {"field": "odd", "value": [1], "share": 0.07, "usual": [], "with": []},
    ]
    fill(tmp_path, seen(1) | {"reasons": reasons})
    shown = command.screen("show", "net/log.csv:1")
    start = shown.index("why")
    assert shown[start + 1 : shown.index("record")] == [
        "   41 %  bytes  54,540   usual 100\N{EN DASH}400.2; out of place with it: packets, rate",
        "   30 %  flag   S0       usual SF or S1",
        "    9 %  skew   missing  usual -2 to 1.235",
        "    8 %  login  true     usual false",
        "    7 %  odd    [1]",
    ]
    assert command.rows("show", "net/log.csv:1")[0]["reasons"] == reasons


def test_an_event_that_is_no_alert_is_shown_beside_the_threshold_of_now(tmp_path, command):
    fill(tmp_path, seen(2, kind="random", p_value=0.4))
    with open_store(tmp_path) as store:
        store.beat(1, "scoring", {"threshold": 0.002})
    (found,) = command.rows("show", "net/log.csv:2")
    known = ("alert", "verdict", "p_value", "threshold", "version", "reasons", "record")
    assert {name: found[name] for name in known} == {
        "alert": False,
        "verdict": None,
        "p_value": 0.4,
        "threshold": 0.002,
        "version": None,
        "reasons": REASONS,
        "record": RECORD,
    }
    assert "p-value   0.4, no alert; the threshold is 0.002" in command.screen("show", "net/log.csv:2")


def test_an_event_known_by_its_label_alone_is_shown_with_the_labels_record(tmp_path, command):
    fill(tmp_path)
    give(tmp_path, 7, "anomaly", record={"bytes": 7})
    (found,) = command.rows("show", "net/log.csv:7")
    assert (found["verdict"], found["p_value"], found["record"]) == ("anomaly", None, {"bytes": 7})
    assert command.screen("show", "net/log.csv:7")[2] == "p-value   -"


def test_an_event_that_nobody_kept_is_named(tmp_path, command):
    fill(tmp_path, seen(1))
    found = command("show", "net/log.csv:9\x1b[1m", code=2)
    assert found == ("", "streamad: no event kept here has the id or key 'net/log.csv:9\\x1b[1m'\n")


def test_a_key_of_several_events_is_refused_with_the_candidates(tmp_path, command):
    fill(tmp_path, seen(1, key="bob"), seen(2, kind="random", key="bob"))
    found = command("show", "bob", code=2)
    assert found == (
        "",
        "streamad: the key 'bob' names several events: net/log.csv:1, net/log.csv:2\n",
    )


def test_a_key_spelled_like_another_events_id_hides_nothing(tmp_path, command):
    fill(tmp_path, seen(1, key="net/log.csv:2", p_value=0.5), seen(2, p_value=0.0002))
    (found,) = command.rows("show", "net/log.csv:2")
    assert (found["event_id"], found["key"], found["p_value"]) == ("net/log.csv:2", None, 0.0002)


def test_hostile_text_is_spelled_out_for_people_and_unchanged_for_programs(tmp_path, command):
    fill(tmp_path, seen(1, key="k", **{HOSTILE: HOSTILE}))
    shown = command("show", "k", terminal=True).out
    assert f"  {HOSTILE_SHOWN}  {HOSTILE_SHOWN}\n" in shown
    assert "".join(shown.splitlines()).isprintable()
    out = command("show", "k").out
    assert out.removesuffix("\n").isprintable()
    assert out.isascii()
    assert command.rows("show", "k")[0]["record"][HOSTILE] == HOSTILE
