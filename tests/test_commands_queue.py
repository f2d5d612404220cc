"""`streamad queue`: which events are asked about, and how."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from commands_help import HOSTILE, HOSTILE_SHOWN, Commands, fill, open_store, seen

from streamad.learning.query import choose
from streamad.runtime.clock import Clock
from streamad.state.pool import PoolRow
from streamad.state.times import parse_time


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    return Commands(tmp_path, capsys, monkeypatch)


def row(n, p_value, *, signature="http", kind="candidate", probability=None, score=1.0):
    return PoolRow(
        n, f"e:{n}", None, kind, n, score, p_value, probability, signature, "[]", "{}", labeled=False
    )


def chosen(rows, limit, verdict="normal", **asked):
    told = {(f"{kind} ", verdict): count for kind, count in asked.items()}
    return [one.n for one in choose(rows, limit, told)]


def test_the_most_anomalous_come_first():
    assert chosen([row(1, 0.3), row(2, 0.001), row(3, 0.02), row(4, 0.1)], 3) == [2, 3, 4]


def test_a_burst_takes_turns_with_other_kinds_of_events():
    burst = [row(n, 1e-6 * n, signature="flood") for n in range(1, 51)]
    others = [row(60, 1e-3, signature="scan"), row(61, 5e-3, signature="login")]
    assert chosen([*burst, *others], 5) == [1, 60, 61, 2, 3]


def test_with_labels_some_of_the_questions_are_about_uncertain_events():
    rows = [row(n, 1e-4 * (n + 1), probability=0.99, signature=str(n)) for n in range(20)]
    rows += [row(n, 0.9, probability=p, signature=str(n)) for n, p in ((30, 0.8), (31, 0.52), (32, 0.4))]
    assert chosen(rows, 12) == [31, 0, 1, 2, 3, 4, 5, 6, 7, 8, 32, 9]


def stream():
    """Twenty rare events, and what was taken at random: ten ordinary ones and two of a flood."""
    rows = [row(n, 1e-4 * (n + 1), signature=str(n)) for n in range(20)]
    rows += [row(n, 0.7, kind="random", signature="http") for n in range(30, 40)]
    return [*rows, *(row(n, 0.9, kind="random", signature="flood") for n in (40, 41))]


def test_every_other_question_is_about_a_kind_that_comes_in_numbers_until_enough_of_it_was_harmless():
    assert chosen(stream(), 6) == [0, 39, 1, 41, 2, 3]
    assert chosen(stream(), 4, http=2) == [0, 41, 1, 2]


def test_a_kind_found_to_be_an_anomaly_is_asked_about_until_its_events_look_like_that():
    assert chosen(stream(), 4, "anomaly", flood=2, http=2) == [0, 39, 1, 41]
    known = [replace(one, probability=0.7) if one.n > 39 else one for one in stream()]
    assert chosen(known, 4, "anomaly", flood=2, http=2) == [0, 39, 1, 2]


def test_a_frequent_kind_is_not_asked_about_again_before_the_answer():
    assert chosen(stream(), 4, "open", http=2) == [0, 41, 1, 2]


def test_a_kind_that_has_verdicts_comes_after_one_that_has_none():
    rows = [row(1, 0.001, signature="known"), row(2, 0.01, signature="new"), row(3, 0.02, signature="known")]
    assert chosen(rows, 3, known=2) == [2, 1, 3]


def test_equal_p_values_are_told_apart_by_the_score_and_then_by_age():
    rows = [row(1, 0.1, score=1.0), row(2, 0.1, score=3.0), row(3, 0.1, score=1.0), row(4, None)]
    assert chosen(rows, 4) == [2, 3, 1, 4]


def test_the_choice_does_not_depend_on_the_order_of_the_pool_and_is_filled_up():
    source = random.Random(3)
    kinds = ("alert", "candidate", "random")
    rows = [
        row(n, source.random(), signature=str(n % 7), kind=source.choice(kinds), probability=source.random())
        for n in range(200)
    ]
    expected = chosen(rows, 40)
    source.shuffle(rows)
    assert chosen(rows, 40) == expected
    assert len(set(expected)) == 40
    assert sorted(chosen(rows, 1000)) == list(range(200))
    assert chosen(rows, 0) == chosen([], 5) == []


def test_programs_get_a_question_a_line(tmp_path, command):
    fill(tmp_path, seen(1, key="k", probability=0.25), seen(2, kind="random", p_value=0.4))
    assert command.rows("queue", "--limit", "1") == [
        {
            "event_id": "net/log.csv:1",
            "key": "k",
            "p_value": 0.0001,
            "anomaly_probability": 0.25,
            "alerts": 1,
            "reasons": [{"field": "bytes", "value": 54540, "share": 0.414}],
            "record": {"user": "k", "bytes": 54540, "service": "http"},
        }
    ]
    assert len(command.rows("queue")) == 2


def test_labeled_events_are_not_asked_about_again(tmp_path, command):
    fill(tmp_path, seen(1), seen(2))
    command("label", "net/log.csv:1", "normal")
    assert [one["event_id"] for one in command.rows("queue")] == ["net/log.csv:2"]


BUDGET = ("--set", "labels.questions_per_day=2")


def verdicts(tmp_path, now, *numbers):
    """A verdict on each of these events, given at a time of the store's own clock."""
    with open_store(tmp_path) as store:
        store._clock = lambda: parse_time(now)
        store.add_labels(
            [{"event_id": f"net/log.csv:{n}", "label": "normal", "analyst": "a"} for n in numbers]
        )


@pytest.fixture
def noon(monkeypatch):
    monkeypatch.setattr(Clock, "text", lambda _: "2026-03-02T12:00:00.000Z")


@pytest.mark.usefixtures("noon")
def test_questions_and_the_verdicts_of_a_day_are_together_no_more_than_its_budget(tmp_path, command):
    fill(tmp_path, *(seen(number, p_value=number / 1000) for number in range(1, 7)))

    def asked():
        return [one["event_id"][-1] for one in command.rows("queue", *BUDGET)]

    verdicts(tmp_path, "2026-03-01T23:59:59.999Z", 5)
    assert len(asked()) == 2
    verdicts(tmp_path, "2026-03-02T00:00:00Z", 1)
    assert asked() == ["2"]
    assert len(command.rows("queue")) == 4


@pytest.mark.usefixtures("noon")
def test_a_used_up_day_is_said_in_one_sentence(tmp_path, command):
    fill(tmp_path, *(seen(number) for number in range(1, 6)))
    verdicts(tmp_path, "2026-03-02T09:00:00Z", 1, 2, 3)
    sentence = "today's questions are used up: 3 events have a verdict since 00:00 UTC, and labels.questions_per_day is 2\n"
    assert command("queue", *BUDGET) == ("", sentence)
    assert command("queue", *BUDGET, terminal=True) == ("", sentence)


def test_people_see_a_table_whose_ids_are_whole(tmp_path, command):
    fill(tmp_path, seen(1, key="bob", probability=0.25), seen(123456, kind="random", p_value=0.4))
    assert command.screen("queue") == [
        "EVENT                P-VALUE  ANOMALY?  ALERTS  KIND  WHY",
        "net/log.csv:1 (bob)  0.0001   25 %      1       http  bytes 54,540 (41 %)",
        "net/log.csv:123456   0.4      -         -       http  bytes 54,540 (41 %)",
    ]


def test_json_on_a_terminal_is_what_programs_get(tmp_path, command):
    fill(tmp_path, seen(1), seen(2))
    assert command.screen("queue", "--json") == command("queue").out.splitlines()


def test_hostile_text_is_spelled_out(tmp_path, command):
    fill(tmp_path, seen(1, key=HOSTILE, signature=HOSTILE))
    shown = command("queue", terminal=True).out
    assert HOSTILE_SHOWN[:40] in shown
    assert "".join(shown.splitlines()).isprintable()


def test_an_empty_queue_is_said_on_stderr(tmp_path, command):
    with open_store(tmp_path):
        pass
    assert command("queue", terminal=True) == ("", "nothing to ask about yet\n")
    assert command("queue") == ("", "")


def test_a_burst_is_asked_about_once_by_its_most_anomalous_alert_and_what_is_muted_never(tmp_path, command):
    first = "alert of net/log.csv:1"
    rows = [seen(number, p_value=p_value) for number, p_value in enumerate((1e-3, 1e-5, 1e-4, 1e-6), 1)]
    fill(
        tmp_path,
        *rows,
        seen(5, kind="candidate", p_value=0.01),
        repeats={"net/log.csv:2": first, "net/log.csv:3": first},
        muted={"net/log.csv:4": "1f"},
    )
    assert [(row["event_id"], row["alerts"]) for row in command.rows("queue")] == [
        ("net/log.csv:2", 3),
        ("net/log.csv:5", 0),
    ]
    command("label", "net/log.csv:2", "normal")
    assert [row["event_id"] for row in command.rows("queue")] == ["net/log.csv:3", "net/log.csv:5"]
