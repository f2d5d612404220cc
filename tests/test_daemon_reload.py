"""A daemon that is told to read its config again, and one that is told what to mute."""

from __future__ import annotations

import json
import signal

import pytest
import yaml
from feeds import FEED, committed, merged, stored, stored_alerts, write_config, write_log
from processes import start, stop, wait_for

FIRST, MORE = 3000, 2000
TRAINING = {"warm_up": {"records": 1024}, "window": {"records": 1500}, "every_records": None}


@pytest.fixture
def daemon(tmp_path):
    """A daemon that has read the first of its lines, and what sends it more."""
    lines = write_log(tmp_path, FIRST + 2 * MORE)
    log = tmp_path / "kdd.log"
    log.write_bytes(b"".join(line + b"\n" for line in lines[:FIRST]))
    sinks = [{"type": "ndjson", "path": "alerts.ndjson"}]
    write_config(tmp_path, source={"follow": True}, training=TRAINING, sinks=sinks)
    process = start("run", tmp_path / "feed.yaml", log=tmp_path / "err")
    state = tmp_path / f"{FEED}.state"
    wait_for(lambda: committed(state) == FIRST, process, seconds=120)

    def more():
        begin = committed(state)
        with log.open("ab") as out:
            out.write(b"".join(line + b"\n" for line in lines[begin : begin + MORE]))
        wait_for(lambda: committed(state) == begin + MORE, process)
        return stored_alerts(state)

    yield tmp_path, process, more
    assert stop(process, signal.SIGTERM)[0] == 0


def said(folder, event):
    found = (json.loads(line) for line in (folder / "err").read_text().splitlines() if line.startswith("{"))
    return [line for line in found if line["event"] == event]


def test_a_hang_up_brings_a_new_budget_and_refuses_what_counts_from_a_start_on(daemon):
    folder, process, more = daemon
    config = folder / "feed.yaml"
    tree = yaml.safe_load(config.read_text())
    config.write_text(
        yaml.safe_dump(merged(tree, {"alerts": {"budget": 0.2, "burst": False}, "detector": {"members": 9}}))
    )
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: said(folder, "config_read"), process)
    before = len(stored_alerts(folder / f"{FEED}.state"))
    alerts = more()
    assert [line["key"] for line in said(folder, "config_change_refused")] == ["detector.members"]
    assert said(folder, "config_read")[0]["changed"] == ["alerts.budget", "alerts.burst"]
    # the threshold is the budget, give or take what the rate of alerts moves it
    assert alerts[0]["threshold"] == 0.05
    assert [alert["threshold"] for alert in alerts[:before]] == [pytest.approx(0.05, rel=0.4)] * before
    assert all(alert["threshold"] == pytest.approx(0.2, rel=0.2) for alert in alerts[before:])
    assert {alert["repeat_of"] for alert in alerts[before:]} == {None}
    assert any(alert["repeat_of"] for alert in alerts[:before])

    config.write_text("streamad: 1")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: said(folder, "config_not_taken"), process)
    assert all(alert["threshold"] == pytest.approx(0.2, rel=0.2) for alert in more()[before:])


def test_what_is_muted_is_stored_and_counted_and_not_sent_until_the_mute_ends(daemon):
    folder, process, more = daemon
    state, sink = folder / f"{FEED}.state", folder / "alerts.ndjson"

    def mute(*words):
        with (folder / "out").open("wb") as out:
            assert start("mute", folder / "feed.yaml", *words, log=folder / "mute", stdout=out).wait(30) == 0
        return json.loads((folder / "out").read_text())

    before = len(stored_alerts(state))
    name = mute("protocol_type in (tcp, udp, icmp)", "--for", "1h", "--why", "all of it")["id"]
    count = len(more())
    assert count > before + 20
    assert stored(state, "SELECT DISTINCT muted FROM alerts ORDER BY n") == [(None,), (name,)]
    mute("--end", name, "--analyst", "ann")
    alerts = more()
    sent = [alert["event_id"] for alert in alerts if "muted" not in alert]
    assert len(sent) > before + 20
    wait_for(lambda: len(sink.read_bytes().splitlines()) == len(sent), process)
    assert [json.loads(line)["event_id"] for line in sink.read_bytes().splitlines()] == sent
    assert {alert.get("muted") for alert in alerts[before:count]} == {name}
    assert {alert.get("muted") for alert in alerts[count:]} == {None}
