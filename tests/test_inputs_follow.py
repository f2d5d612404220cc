"""`run` on a growing file, as a user starts it: torn lines wait, rotation and truncation lose and repeat nothing."""

from __future__ import annotations

import pytest
from feeds import committed, stored
from inputs_help import Feed, rows
from processes import start, stop, wait_for


@pytest.fixture
def followed(tmp_path):
    """A daemon's feed that keeps every record in its pool."""
    feed = Feed(tmp_path, None)
    feed.write(
        source=feed.tree["source"] | {"follow": True, "header": False},
        labels={"sample": 1.0},
        training={"warm_up": {"records": 100}},
        limits={"poll_ms": 20, "commit_ms": 20},
    )
    feed.file("log.csv", rows(200))
    return feed


def test_a_followed_file_loses_and_repeats_nothing_through_torn_lines_truncation_and_rotation(followed):
    log, told = followed.folder / "log.csv", followed.folder / "told"

    def add(text):
        with log.open("a") as file:
            file.write(text)

    def until(records, process):
        wait_for(lambda: committed(followed.state) >= records, process)

    process = start("run", followed.path, log=told)
    until(200, process)
    add(rows(9, first=200) + "u209,7,ht")
    until(209, process)
    add("tp\n")
    until(210, process)
    log.rename(followed.folder / "log.csv.1")
    log.write_text(rows(20, first=210))
    until(230, process)
    log.write_text(rows(10, first=230))  # truncated in place
    until(240, process)
    assert stop(process, 15)[0] == 0

    add(rows(5, first=240))
    log.rename(followed.folder / "log.csv.2")
    log.write_text(rows(15, first=245))
    process = start("run", followed.path, log=told)
    until(260, process)
    assert stop(process, 15)[0] == 0

    places = [("log.csv", 210), ("log.csv~1", 20), ("log.csv~2", 15), ("log.csv~3", 15)]
    assert stored(
        followed.state, "SELECT event_id, json_extract(record, '$.user') FROM pool ORDER BY record_number"
    ) == [
        (f"net/{name}:{line}", f"u{n}")
        for n, (name, line) in enumerate((name, line + 1) for name, count in places for line in range(count))
    ]
    assert "Traceback" not in told.read_text()
