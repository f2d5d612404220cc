"""Bursts and mutes in a running engine: one alert to look at, whatever happens to commits in between."""

from __future__ import annotations

import json

import pytest
from engines import Sink, engine
from feeds import checkpoint, stored_alerts, write_log
from streamad_connectors.memory import Records

from streamad.ports import Mute
from streamad.state.queries import Reader
from streamad.state.times import SECOND, format_time

RECORDS, BURST = 3000, 700
TRAINING = {"warm_up": {"records": 1024}, "window": {"records": 1500}, "every_records": None}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Traffic with few attacks, and in its midst many of one kind."""
    lines = write_log(tmp_path_factory.mktemp("lines"), RECORDS, share=0.002)
    normal = next(line for line in lines if line.endswith(b",normal."))
    fields = normal.split(b",")
    fields[:6] = [b"58329", b"icmp", b"tim_i", b"SH", b"693375640", b"5155468"]
    fields[7:23] = [b"3"] * 4 + [b"1", b"884", b"1", b"1"] + [b"99"] * 5 + [b"1", b"1", b"99"]
    attack = b",".join(fields)
    places = [
        2000 + 2 * n for n in range(BURST // 2)
    ]  # every second record at first, then one after the other
    for place in places[: BURST // 2 - 1]:
        lines.insert(place, attack)
    return [*lines[:2800], *[attack] * (BURST - BURST // 2 + 1), *lines[2800:]]


def run(folder, lines, *, state="state", aborts=(), on_step=None, **changes):
    with engine(
        folder, [Records("p", lines)], state=state, training=TRAINING, on_step=on_step, **changes
    ) as live:
        Sink(live, aborts)
        live.engine.run()
    return stored_alerts(folder / state)


def of_the_burst(alerts):
    return [alert for alert in alerts if alert["record"]["service"] == "tim_i"]


def test_a_burst_gives_one_alert_to_look_at_with_the_right_count(tmp_path, lines):
    alerts = run(tmp_path, lines)
    first, *others = of_the_burst(alerts)
    assert first["repeat_of"] is None
    assert len(others) > BURST / 2  # the reference gets to know it in the end
    assert {alert["repeat_of"] for alert in others} == {first["alert_id"]}
    with Reader(tmp_path / "state" / "store.db") as reader:
        shown = [(json.loads(line.text)["event_id"], line.repeats) for line in reader.last_bursts(1000)]
    assert (first["event_id"], len(others)) in shown
    assert sum(repeats + 1 for _, repeats in shown) == len(alerts)
    assert len(shown) == sum(alert["repeat_of"] is None for alert in alerts)


def test_aborts_and_failures_change_nothing_about_who_repeats_whom(tmp_path, lines):
    plain = run(tmp_path, lines, state="plain")
    assert run(tmp_path, lines, state="aborted", aborts=(2, 3, 5)) == plain

    def fail(step, seen=[]):  # noqa: B006  # counts over the call
        seen.append(step)
        if step == "commit.4" and seen.count(step) == 3:
            raise RuntimeError(step)

    with pytest.raises(RuntimeError):
        run(tmp_path, lines, state="failed", on_step=fail)
    assert len(checkpoint(tmp_path / "failed", "bursts")["open"]) > 0
    assert run(tmp_path, lines, state="failed") == plain


def test_the_window_can_be_so_many_records_and_the_fields_others(tmp_path, lines):
    alerts = of_the_burst(
        run(tmp_path, lines, alerts={"burst": {"by": ["src_bytes"], "within": "1 records"}})
    )
    places = [int(alert["event_id"].rpartition(":")[2]) for alert in alerts]
    first = [0]
    for n in range(1, len(places)):
        if places[n] - places[n - 1] > 1 or places[n] - places[first[-1]] > 25:
            first.append(n)
    assert [n for n, alert in enumerate(alerts) if alert["repeat_of"] is None] == first
    assert len(first) > BURST / 3


def test_bursts_can_be_turned_off(tmp_path, lines):
    alerts = run(tmp_path, lines, alerts={"burst": False})
    assert {alert["repeat_of"] for alert in alerts} == {None}
    assert checkpoint(tmp_path / "state", "bursts") is None


def test_a_mute_counts_from_the_next_batch_on_and_an_abort_counts_nothing_twice(tmp_path, lines):
    with engine(tmp_path, [Records("p", lines)], training=TRAINING) as live:

        def look(_commit):
            if sink.commits == 2:
                now = live.feed.clock.micros()
                until = format_time(now + 3600 * SECOND)
                live.store.put_mute(Mute("1f", "service == tim_i", "ann", "x", format_time(now), until))

        sink = Sink(live, aborts=(3,), look=look)
        live.engine.run()
        counters = checkpoint(tmp_path / "state", "engine")["counters"]
        muted = live.store.muted()
    alerts = of_the_burst(stored_alerts(tmp_path / "state"))
    kept = [alert for alert in alerts if "muted" not in alert]
    held_back = [alert for alert in alerts if "muted" in alert]
    assert kept == alerts[: len(kept)]
    assert muted == {"1f": len(held_back)} == {"1f": counters["muted"]}
    assert len(held_back) >= BURST // 2
    for part in (kept, held_back):
        assert [alert["repeat_of"] for alert in part[1:]] == [part[0]["alert_id"]] * (len(part) - 1)
