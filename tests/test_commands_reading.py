"""`streamad alerts` and `streamad rejected`: what people see, and what programs read."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest
from commands_help import HOSTILE, HOSTILE_SHOWN, Commands, alert, config, fill, open_store, rejected, seen

from streamad.commands import reading
from streamad.ports import Commit


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    return Commands(tmp_path, capsys, monkeypatch)


def started(tmp_path, *words, **options):
    command = [sys.executable, "-m", "streamad", words[0], str(config(tmp_path)), *words[1:]]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)


def test_programs_read_the_newest_alerts_as_they_were_committed(tmp_path, command):
    lines = fill(tmp_path, seen(1), seen(2, service="é中"), seen(3, kind="random"), seen(4))
    assert command("alerts").out.splitlines() == lines
    assert command("alerts", "--limit", "2").out.splitlines() == lines[1:]
    assert command("alerts", "--limit", "0").out.splitlines() == lines


def test_all_alerts_means_all_of_them_beyond_one_page(tmp_path, command, monkeypatch):
    monkeypatch.setattr(reading, "_PAGE", 2)
    lines = fill(tmp_path, *map(seen, range(5)))
    assert command("alerts", "--limit", "0").out.splitlines() == lines


def test_people_see_one_line_an_alert(tmp_path, command):
    fill(tmp_path, seen(1), seen(2, key="bob", probability=0.934))
    assert command.screen("alerts") == [
        "2026-01-01 00:00:00  net/log.csv:1  p 0.0001  bytes 54,540 (41 %)",
        "2026-01-01 00:00:00  net/log.csv:2 (bob)  p 0.0001  93 %  bytes 54,540 (41 %)",
    ]


FIRST = "alert of net/log.csv:1"


def shown(lines):
    """What people see of alerts, less their times and reasons."""
    return [
        line.removeprefix("2026-01-01 00:00:00  ").removesuffix("  bytes 54,540 (41 %)") for line in lines
    ]


def test_people_see_one_line_a_burst_with_its_count_and_programs_all_of_them(tmp_path, command):
    repeats = dict.fromkeys(("net/log.csv:2", "net/log.csv:4", "net/log.csv:5"), FIRST)
    lines = fill(
        tmp_path, *map(seen, range(1, 8)), repeats=repeats | {"net/log.csv:7": "alert of net/log.csv:6"}
    )
    expected = [
        "net/log.csv:1  p 0.0001  and 3 repeats",
        "net/log.csv:3  p 0.0001",
        "net/log.csv:6  p 0.0001  and 1 repeat",
    ]
    assert shown(command.screen("alerts")) == expected
    assert shown(command.screen("alerts", "--limit", "0")) == expected
    assert shown(command.screen("alerts", "--limit", "2")) == expected[1:]
    assert command("alerts").out.splitlines() == lines


def test_people_see_each_alert_where_they_ask_for_all(tmp_path, command):
    fill(tmp_path, *map(seen, range(1, 4)), repeats={"net/log.csv:2": FIRST}, muted={"net/log.csv:3": "1f"})
    assert shown(command.screen("alerts", "--all")) == [
        "net/log.csv:1  p 0.0001",
        "net/log.csv:2  p 0.0001  repeats alert alert of net/log.csv:1",
        "net/log.csv:3  p 0.0001  muted by 1f",
    ]


def test_what_is_muted_is_counted_for_people_and_named_to_programs(tmp_path, command):
    lines = fill(tmp_path, *map(seen, range(1, 4)), muted={"net/log.csv:1": "1f", "net/log.csv:3": "1f"})
    got = command("alerts", terminal=True)
    assert shown(got.out.splitlines()) == ["net/log.csv:2  p 0.0001"]
    assert got.err == "2 muted alerts are not shown; --all shows them\n"
    assert command("alerts").out.splitlines() == lines
    assert [row.get("muted") for row in command.rows("alerts")] == ["1f", None, "1f"]


def test_following_people_see_a_burst_go_on(tmp_path, command, monkeypatch):
    fill(tmp_path, seen(1), seen(2), repeats={"net/log.csv:2": FIRST})
    old = "alert of net/log.csv:0"
    more = iter(
        [
            [alert(seen(3), repeat_of=FIRST), alert(seen(4)), alert(seen(5), repeat_of=FIRST)],
            [alert(seen(6), repeat_of="alert of net/log.csv:4") | {"muted": "1f"}],
            [alert(seen(7), repeat_of=old), alert(seen(8), repeat_of=old)],
        ]
    )

    def pause(_seconds):
        alerts = next(more, None)
        with open_store(tmp_path) as store:
            store.commit(Commit({}, 100, alerts=alerts or []))
        return alerts is not None

    monkeypatch.setattr("streamad.commands.screen.pause", pause)
    assert shown(command.screen("alerts", "--follow")) == [
        "net/log.csv:1  p 0.0001  and 1 repeat",
        f"{'':19}  net/log.csv:1  2 more repeats, 3 by now",
        "net/log.csv:4  p 0.0001",
        "net/log.csv:7  p 0.0001  and 1 repeat  repeats alert alert of net/log.csv:0",
    ]


def test_hostile_text_is_spelled_out_for_people_and_unchanged_for_programs(tmp_path, command):
    row = seen(1, key=HOSTILE)
    row["reasons"] = [{"field": HOSTILE[-8:], "value": HOSTILE[:8], "share": 0.5}]
    (line,) = fill(tmp_path, row)
    (shown,) = command.screen("alerts")
    assert HOSTILE_SHOWN[:40] in shown
    assert shown.isprintable()
    out = command("alerts").out
    assert out.removesuffix("\n").isprintable()
    assert json.loads(out) == json.loads(line) == alert(row)


def test_a_real_terminal_gets_no_control_character_out_of_a_record(tmp_path):
    fill(tmp_path, seen(1, key=HOSTILE), rejected=[rejected(2, HOSTILE.encode())])
    for name in ("alerts", "rejected", "queue"):
        main_end, end = pty.openpty()
        process = started(tmp_path, name, stdout=end, env=os.environ | {"TERM": "xterm-256color"})
        process.communicate()
        os.close(end)
        shown = os.read(main_end, 65536).decode()
        os.close(main_end)
        assert process.returncode == 0
        assert "[link=file:///]" in shown
        assert "".join(shown.split("\r\n")).isprintable()


def test_following_shows_what_comes_until_nobody_reads_it(tmp_path):
    fill(tmp_path, seen(1))
    process = started(tmp_path, "alerts", "--follow", stdout=subprocess.PIPE)
    assert json.loads(process.stdout.readline())["event_id"] == "net/log.csv:1"
    with open_store(tmp_path) as store:
        store.commit(Commit({}, 200, alerts=[alert(seen(2)), alert(seen(3))]))
    assert [json.loads(process.stdout.readline())["event_id"] for _ in range(2)] == [
        "net/log.csv:2",
        "net/log.csv:3",
    ]
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(10) == 0


def test_ctrl_c_ends_following_quietly(tmp_path):
    fill(tmp_path, seen(1))
    process = started(tmp_path, "alerts", "--follow", stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == (b"", b"")
    assert process.returncode == 0


def test_following_begins_with_a_feed_that_has_no_alert_yet(tmp_path, command, monkeypatch):
    fill(tmp_path)
    pauses = iter([True, True, False])

    def pause(_seconds):
        goes_on = next(pauses)
        if goes_on:
            with open_store(tmp_path) as store:
                number = store.counts().alerts + 1
                store.commit(Commit({}, 100 + number, alerts=[alert(seen(number))]))
        return goes_on

    monkeypatch.setattr("streamad.commands.screen.pause", pause)
    found = command.rows("alerts", "--follow")
    assert [one["event_id"] for one in found] == ["net/log.csv:1", "net/log.csv:2"]


def test_a_closed_pipe_ends_quietly(tmp_path):
    fill(tmp_path, *(seen(number, text="x" * 500) for number in range(600)))
    for name in ("alerts", "queue"):
        process = started(tmp_path, name, "--limit", "600", stdout=subprocess.PIPE)
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(10) == 0


def test_programs_read_the_newest_rejected_payloads(tmp_path, command):
    entries = [rejected(number, b"\x1b[2J;") for number in range(3)]
    fill(tmp_path, rejected=entries)
    assert command.rows("rejected") == entries
    assert command.rows("rejected", "--limit", "1") == entries[2:]


def test_people_see_how_many_were_rejected_and_why(tmp_path, command):
    entries = [rejected(n, b"a,b") for n in range(2)]
    entries.append(rejected(9, b"\xff[link=x]\x1b" + b"z" * 90, "bad_number", "bytes"))
    fill(tmp_path, rejected=entries)
    assert command.screen("rejected", "--limit", "2") == [
        "        2  too_few_fields",
        "        1  bad_number",
        "log.csv:1  too_few_fields  2 of 3  a,b",
        "log.csv:9  bad_number  bytes  2 of 3  \\xff[link=x]\\x1b" + "z" * 43 + "…",
    ]


def test_without_rejected_payloads_there_is_nothing_on_stdout(tmp_path, command):
    fill(tmp_path)
    assert command("rejected") == ("", "")
    assert command("rejected", terminal=True) == ("", "nothing was rejected\n")


@pytest.mark.parametrize("name", ["alerts", "rejected", "queue", "status"])
def test_without_a_state_a_command_says_what_to_do(tmp_path, command, name):
    found = command(name, code=2)
    assert found == ("", f"streamad: no state yet in {tmp_path / 'net.state'}: run or replay first\n")


def test_another_feeds_state_is_refused(tmp_path, command):
    fill(tmp_path)
    found = command("alerts", "--set", "feed=other", "--state", str(tmp_path / "net.state"), code=2)
    assert found.err == f"streamad: {tmp_path / 'net.state'} belongs to the feed 'net', not to 'other'\n"


def test_reading_goes_on_while_the_daemon_commits(tmp_path, command):
    fill(tmp_path)
    done = threading.Event()

    def write():
        try:
            with open_store(tmp_path) as store:
                for number in range(1, 101):
                    store.commit(Commit({}, 100 + number, alerts=[alert(seen(number))]))
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            found = [one["event_id"] for one in command.rows("alerts", "--limit", "0")]
            assert found == [f"net/log.csv:{n}" for n in range(1, len(found) + 1)]
    finally:
        writer.join()
    assert len(command.rows("alerts", "--limit", "0")) == 100
