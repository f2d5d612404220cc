"""A replay is the same every time, also when it was stopped on its way."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import polars as pl
import pytest
from feeds import checkpoint, committed, stored, write_config, write_labels, write_log
from processes import say, start, stop, trainers, wait_for

pytestmark = pytest.mark.slow

RECORDS = 20_000
TRAINING = {"every_records": 5000, "effect_after": 1500}


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replays")
    lines = write_log(folder, RECORDS, junk=53)
    return folder, write_config(folder, training=TRAINING), write_labels(folder, lines, 50, first=2000)


def replay(feed, name, *options, summary=False, also=""):
    folder, config, labels = feed
    sink = f"sinks=[{{type: ndjson, path: {name}.ndjson}}{also}]"
    files = ("--labels", labels, "--scores", folder / f"{name}.parquet", "--state", folder / name)
    if summary:
        options += ("--summary", folder / f"{name}.json")
    return start("replay", config, "--set", sink, *files, *options, log=folder / f"{name}.log")


def delivered(folder, name):
    """The sink's file, less the time of each alert's scoring."""
    return re.sub(rb'"scored_at": ?"[^"]*"', b"", (folder / f"{name}.ndjson").read_bytes())


@pytest.fixture(scope="module")
def whole(feed):
    assert replay(feed, "whole", summary=True).wait(120) == 0
    return feed[0]


def test_two_replays_with_one_seed_write_the_same_bytes(feed, whole):
    assert replay(feed, "again", summary=True).wait(120) == 0
    summary = json.loads((whole / "whole.json").read_text())
    assert summary["versions"] >= 4
    assert summary["labels"] == 50
    assert summary["records_in"] == summary["scored"] + summary["rejected"] == RECORDS
    assert delivered(whole, "whole").count(b"\n") == summary["alerts"] > 500
    assert delivered(whole, "again") == delivered(whole, "whole")
    scores = pl.read_parquet(whole / "again.parquet")
    assert scores.equals(pl.read_parquet(whole / "whole.parquet"))


def test_another_seed_gives_other_alerts(feed, whole):
    process = replay(feed, "other", "--seed", "1")
    wait_for(lambda: committed(whole / "other") >= 4000, process)
    stop(process, signal.SIGTERM)
    first = "SELECT p_value FROM alerts ORDER BY n LIMIT 100"
    assert stored(whole / "other", first) != stored(whole / "whole", first)


def test_a_replay_that_is_stopped_while_it_fits_scores_or_learns_goes_on_to_the_same_alerts(feed, whole):
    state = whole / "stopped"

    def learning():
        learner = checkpoint(state, "learner")
        return learner and learner["retraining"]["under_way"]

    moments = {
        "first fit": (state / "jobs/000001/snapshot.json").exists,
        "scoring": lambda: committed(state) and not learning(),
        "learning": learning,
    }
    for moment, reached in moments.items():
        process = replay(feed, "stopped", "--rate", "2500")
        wait_for(reached, process)
        if moment != "scoring":
            wait_for(lambda: trainers(process.pid), process)  # noqa: B023  # called at once
        code, seconds = stop(process, signal.SIGTERM)
        say(f"SIGTERM in {moment}: {seconds:.2f} s")
        assert (code, seconds < 5) == (0, True), (moment, seconds)
    os.mkfifo(whole / "unread")  # a sink that blocks makes draining take long enough for a second signal
    process = replay(feed, "stopped", "--rate", "2500", also=", {type: ndjson, path: unread}")
    records = committed(state)
    wait_for(lambda: committed(state) > records, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    code, seconds = stop(process, signal.SIGINT)
    say(f"SIGINT twice: exit code {code}, {seconds:.2f} s")
    assert (code, seconds < 0.5) == (130, True)
    assert records < committed(state) < RECORDS
    assert replay(feed, "stopped").wait(120) == 0
    assert delivered(whole, "stopped") == delivered(whole, "whole")
    scores = pl.read_parquet(whole / "stopped.parquet")
    assert scores.equals(pl.read_parquet(whole / "whole.parquet"))
    assert "Traceback" not in (whole / "stopped.log").read_text()


def test_scores_that_a_kill_kept_from_being_written_come_with_the_next_call(feed, whole):
    (whole / "whole.parquet").rename(whole / "before.parquet")
    assert replay(feed, "whole").wait(60) == 0
    assert "is finished" in (whole / "whole.log").read_text()
    assert pl.read_parquet(whole / "whole.parquet").equals(pl.read_parquet(whole / "before.parquet"))
