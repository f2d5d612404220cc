"""The daemon and sinks that nobody reads: it stops in time, and nothing is lost."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from feeds import committed, stored, write_config, write_log
from processes import say, start, stop, wait_for

_SET_PIPE_SIZE = 1031  # fcntl's F_SETPIPE_SZ


@pytest.fixture
def folder(tmp_path):
    write_log(tmp_path, 8000)
    sinks = [
        {"type": "stdout"},
        {"type": "ndjson", "path": "fifo"},
        {"type": "ndjson", "path": "file.ndjson"},
    ]
    training = {"every_records": 4000, "window": {"records": 3000}}
    write_config(tmp_path, source={"follow": True}, alerts={"budget": 0.9}, sinks=sinks, training=training)
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def lines_of(path):
    return [json.loads(line)["event_id"] for line in Path(path).read_bytes().splitlines()]


def test_a_daemon_whose_sinks_nobody_reads_scores_on_stops_in_time_and_delivers_later(folder):
    state = folder / "feed.state"
    process = start("run", folder / "feed.yaml", log=folder / "log", stdout=subprocess.PIPE)
    fcntl.fcntl(process.stdout, _SET_PIPE_SIZE, 4096)
    wait_for(lambda: committed(state) == 8000, process)
    code, seconds = stop(process, signal.SIGTERM)
    process.stdout.close()
    say(f"SIGTERM with two blocked sinks: {seconds:.2f} s")
    assert (code, seconds < 5) == (0, True)
    events = [row[0] for row in stored(state, "SELECT event_id FROM alerts ORDER BY n")]
    assert len(events) > 6000
    assert lines_of(folder / "file.ndjson") == events

    with (folder / "stdout").open("wb") as out:
        process = start("run", folder / "feed.yaml", log=folder / "log", stdout=out)
    fifo = []
    reader = threading.Thread(target=lambda: fifo.append((folder / "fifo").read_bytes()))
    reader.start()
    marks = "SELECT count(*) FROM outbox WHERE n = (SELECT max(n) FROM alerts)"
    wait_for(lambda: stored(state, marks) == [(3,)], process)
    assert stop(process, signal.SIGTERM)[0] == 0
    reader.join()
    assert [json.loads(line)["event_id"] for line in fifo[0].splitlines()] == events
    assert lines_of(folder / "stdout")[-len(events) :] == events
    assert lines_of(folder / "file.ndjson") == events


def test_a_daemon_is_stopped_during_its_first_fit_and_begins_again(folder):
    state = folder / "feed.state"
    for _ in range(2):
        process = start("run", folder / "feed.yaml", log=folder / "log")
        wait_for((state / "jobs/000001/snapshot.json").exists, process)
        code, seconds = stop(process, signal.SIGTERM)
        say(f"SIGTERM in the daemon's first fit: {seconds:.2f} s")
        assert (code, seconds < 5) == (0, True)
        (state / "jobs/000001/snapshot.json").unlink(missing_ok=True)
    assert stored(state, "SELECT count(*) FROM alerts") == [(0,)]
