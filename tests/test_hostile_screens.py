"""Records that hold escapes, newlines, bidirectional controls and markup are shown harmlessly, to people and programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import unicodedata

import pytest
from inputs_help import Feed, rows

EVIL = "\x1b]0;owned\x07\n[link=file:///]x[/link]\u202etxt\u2066\x9b31m\u2028[bold]\r\x1b[2J"
COMMANDS = ("alerts", "queue", "rejected", "status", "models list", "show net/log.ndjson:250")
PROGRAM = """
import sys
from streamad.cli import main
for command in sys.argv[2:]:
    name, *words = command.split()
    assert main([name, sys.argv[1], *words]) == 0, command
    print("=====", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A finished replay whose alerts and rejected records are hostile."""
    feed = Feed(tmp_path_factory.mktemp("hostile"), None)
    good = [
        json.dumps(dict(zip(("user", "bytes", "service"), line.split(","), strict=True)))
        for line in rows(400).split()
    ]
    for n in range(249, 400, 10):
        good[n] = json.dumps({"user": EVIL, "bytes": 1e9, "service": EVIL + str(n), EVIL: EVIL})
    good[300] = json.dumps({"bytes": EVIL})
    good[310] = "{" + EVIL.replace("\n", " ").replace("\r", " ")
    feed.file("log.ndjson", "\n".join(good) + "\n")
    feed.write(source={"type": "files", "format": "ndjson", "paths": ["log.ndjson"]}, alerts={"budget": 0.2})
    done = subprocess.run(
        [sys.executable, "-m", "streamad", "replay", str(feed.path)], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["alerts"] > 10
    assert json.loads(done.stdout)["rejected"] == 2
    return feed


def harmful(text):
    """The characters of a text that could move a terminal or turn its text around."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}


def on_terminal(*arguments):
    """What commands show on a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    assert process.wait() == 0, shown
    return shown.decode()


def test_hostile_records_are_harmless_on_a_terminal(hostile):
    shown = on_terminal(str(hostile.path), *COMMANDS).replace("\r\n", "\n")
    assert harmful(shown) == set()
    for part in shown.split("=====")[:3]:
        assert "\\x1b]0;owned\\x07" in part
    assert "[link=file:///]x[/link]" in shown


def test_hostile_records_are_harmless_for_programs(hostile):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(hostile.path), *COMMANDS], capture_output=True, check=True
    )
    shown = done.stdout.decode()
    assert harmful(shown + done.stderr.decode()) == set()
    alerts = [json.loads(line) for line in shown.splitlines() if line.startswith('{"format"')]
    assert {alert["record"][EVIL] for alert in alerts if EVIL in alert["record"]} == {EVIL}


def test_a_hostile_name_is_harmless_in_an_error(tmp_path):
    feed = Feed(tmp_path, None)
    feed.file("log.csv", "\x1b[2J\u202e,b\n1,2\n")
    done = subprocess.run(
        [sys.executable, "-m", "streamad", "replay", str(feed.path)], capture_output=True, check=False
    )
    assert (done.returncode, harmful(done.stderr.decode())) == (2, set())


def test_reading_commands_end_quietly_when_nobody_reads_on(hostile):
    for command in ("alerts --limit 0", "rejected", "queue", "status", "models list"):
        name, *words = command.split()
        line = [sys.executable, "-m", "streamad", name, str(hostile.path), *words]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        said = process.stderr.read()
        process.stderr.close()
        assert (command, process.wait(), said) == (command, 0, b"")
