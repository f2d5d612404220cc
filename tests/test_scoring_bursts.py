"""Bursts: which alert repeats which, in bounded memory, whatever senders choose."""

from __future__ import annotations

import json
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamad.records.schema import Schema, TimeSpec
from streamad.scoring.bursts import Bursts, Rule, rule_of
from streamad.scoring.options import AlertOptions, BurstOptions
from streamad.state.times import SECOND, format_time

SCHEMA = Schema(fields={"bytes": "numeric", "service": "categorical", "flag": "categorical"})
TIMED = Schema(fields={"at": "time", "service": "categorical"}, time=TimeSpec(field="at"))
MINUTE = 60 * SECOND
NUMBERED = count()


def alert(at, service="http", *, event_time=True, **more):
    """An alert `at` so many minutes."""
    time = format_time(round(at * MINUTE))
    return {
        "alert_id": f"a{next(NUMBERED)}",
        "scored_at": time,
        "event_time": time if event_time else None,
        "repeat_of": None,
        "record": {"service": service},
    } | more


def marked(alerts, rule, *, parts=1, start=0):
    """What each repeats, as its place among them; marked in so many parts."""
    bursts = Bursts(rule)
    step = -(-len(alerts) // parts) or 1
    for first in range(0, len(alerts), step):
        state = json.loads(json.dumps(bursts.state()))
        bursts = Bursts(rule)
        bursts.restore(state)
        piece = alerts[first : first + step]
        bursts.mark(piece, range(start + first, start + first + len(piece)))
    places = {one["alert_id"]: place for place, one in enumerate(alerts)}
    return [None if one["repeat_of"] is None else places[one["repeat_of"]] for one in alerts]


TEN_MINUTES = Rule(("service",), 10 * MINUTE, "scored_at")


def test_alerts_that_are_alike_repeat_the_first_of_them_and_others_do_not():
    alerts = [alert(0), alert(1, "ftp"), alert(2), alert(3), alert(3, "ftp"), alert(3, None)]
    assert marked(alerts, TEN_MINUTES) == [None, None, 0, 0, 1, None]


def test_a_burst_goes_on_for_as_long_as_no_pause_is_longer_than_the_window():
    assert marked([alert(at) for at in (0, 9, 18, 28, 38.1, 40)], TEN_MINUTES) == [None, 0, 0, 0, None, 4]


def test_a_burst_without_end_is_one_to_look_at_again_after_twenty_five_windows():
    repeats = marked([alert(at) for at in range(600)], TEN_MINUTES)
    assert [place for place, repeated in enumerate(repeats) if repeated is None] == [0, 251, 502]


def test_a_window_can_be_counted_in_records():
    alerts = [alert(0) for _ in range(4)]
    bursts = Bursts(Rule(("service",), 100, "records"))
    bursts.mark(alerts, [0, 100, 201, 202])
    first, _, third, _ = (one["alert_id"] for one in alerts)
    assert [one["repeat_of"] for one in alerts] == [None, first, None, third]


def test_event_times_that_go_back_or_are_missing_or_absurd_hide_nothing_for_long():
    rule = Rule(("service",), 10 * MINUTE, "event_time")
    assert marked([alert(20), alert(12), alert(1), alert(10)], rule) == [None, 0, None, 2]
    assert marked([alert(0), alert(99, event_time=False), alert(1)], rule) == [None, 0, 0]
    assert marked([alert(0), alert(10**9), alert(1), alert(2)], rule) == [None, None, None, 2]


def test_muted_alerts_are_a_burst_of_their_own():
    alerts = [alert(0, muted="m"), alert(1), alert(2, muted="m"), alert(3)]
    assert marked(alerts, TEN_MINUTES) == [None, None, 0, 1]


def test_no_fields_at_all_make_every_alert_like_any_other():
    assert marked([alert(0), alert(1, "ftp")], Rule((), MINUTE, "scored_at")) == [None, 0]


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abc")), max_size=30),
    st.integers(1, 30),
)
def test_it_does_not_matter_where_commits_and_restarts_fall(seen, parts):
    seen = sorted(seen)
    whole = marked([alert(*one) for one in seen], TEN_MINUTES)
    assert marked([alert(*one) for one in seen], TEN_MINUTES, parts=parts) == whole


def test_ever_new_values_neither_fill_memory_nor_hide_an_alert():
    bursts = Bursts(TEN_MINUTES)
    flood = [alert(0, f"{number:,}" * 200) for number in range(5000)]
    bursts.mark([first := alert(0), *flood, again := alert(1)], range(5002))
    assert [one["repeat_of"] for one in (first, *flood, again)] == [None] * 5002
    assert len(bursts.state()["open"]) == 1000
    assert len(json.dumps(bursts.state())) < 100_000


def test_a_copy_goes_its_own_way():
    bursts = Bursts(TEN_MINUTES)
    bursts.mark([alert(0)], [0])
    before = bursts.state()
    bursts.copy().mark([alert(1), alert(1, "ftp")], [1, 2])
    assert bursts.state() == before


def test_what_another_rule_has_seen_is_forgotten():
    bursts = Bursts(TEN_MINUTES)
    bursts.mark([alert(0)], [0])
    other = Bursts(Rule(("service", "flag"), 10 * MINUTE, "scored_at"))
    other.restore(bursts.state())
    assert other.state()["open"] == []


def test_without_more_being_said_alerts_of_the_same_categories_within_ten_minutes_are_one_burst():
    default = BurstOptions()
    by = ("service", "flag")
    assert rule_of(default, SCHEMA, replay=False) == Rule(by, 10 * MINUTE, "scored_at")
    assert rule_of(default, SCHEMA, replay=True) == Rule(by, 10_000, "records")
    assert rule_of(default, TIMED, replay=True) == Rule(("service",), 10 * MINUTE, "event_time")
    assert rule_of(default, Schema(fields={"bytes": "numeric"}), replay=False) is None


def test_fields_and_window_can_be_chosen_and_bursts_turned_off():
    chosen = AlertOptions.model_validate({"burst": {"by": ["flag"], "within": "500 records"}}).burst
    assert rule_of(chosen, SCHEMA, replay=False) == Rule(("flag",), 500, "records")
    assert rule_of(AlertOptions(burst=False).burst, SCHEMA, replay=False) is None


@pytest.mark.parametrize(
    "within", ["10", "0m", "5 minutes", "500records", "-1m", "1.5h", "٣m", "9" * 30 + "d"]
)
def test_a_window_that_is_none_is_refused(within):
    with pytest.raises(
        ValidationError, match="a time such as 10m, or a number of records such as 5000 records"
    ):
        BurstOptions(within=within)
