"""Commits that go on in the background while the engine scores."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from engines import engine
from feeds import write_log
from streamad_connectors.memory import MemorySink, MemorySource, Records, Revoke
from structlog.testing import capture_logs

from streamad.errors import CommitAbortedError, StoreError

RECORDS, JUNK, BATCH = 4096, 10, 256
TRAINING = {"warm_up": {"records": 900}, "window": {"records": 1000}, "every_records": None}


class SlowSink(MemorySink):
    """Lets a commit begin, and end once the gate is open."""

    def __init__(self):
        super().__init__()
        self.gate, self.begun = threading.Event(), 0

    def commit(self, commit):
        self.begun += 1
        assert self.gate.wait(20)
        super().commit(commit)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("lines"), RECORDS, junk=JUNK)


def run(folder, source, sink, beside):
    """An engine that commits each batch in the background, while `beside` is called with it on a thread.

    Returns what that returns, and the status at the end.
    """
    with (
        engine(
            folder, source, training=TRAINING, limits={"batch_records": BATCH, "commit_batches": 1}
        ) as live,
        ThreadPoolExecutor(1) as committing,
        ThreadPoolExecutor(1) as looking,
    ):
        live.feed.sink, live.feed.committing = sink, committing
        seen = looking.submit(beside, live)
        live.engine.run()
        return seen.result(), live.engine.status()


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def rejected(sink):
    return [row["position"] for row in sink.rejected]


def junk(partition, count):
    return [f"{partition}:{number}" for number in range(JUNK - 1, count, JUNK)]


def open_when_full(sink):
    """Opens the gate when one batch is under way and one is scored; returns what the status is a moment later."""

    def beside(live):
        try:
            until(lambda: live.engine.status()["in_flight"] == 2 * BATCH)
            time.sleep(0.2)
            return sink.begun, live.engine.status()
        finally:
            sink.gate.set()

    return beside


def test_one_batch_is_scored_while_another_is_committed_and_no_more_than_one(tmp_path, lines):
    sink = SlowSink()
    (begun, status), _ = run(tmp_path, [Records("p", lines)], sink, open_when_full(sink))
    assert (begun, status["in_flight"], status["scored"]) == (1, 2 * BATCH, 0)
    assert [commit.records for commit in sink.commits] == [*range(BATCH, RECORDS + 1, BATCH), RECORDS]
    assert rejected(sink) == junk("p", RECORDS)


def test_what_was_scored_beside_a_commit_that_is_aborted_is_dropped_with_it_and_leaves_no_trace(
    tmp_path, lines
):
    sink = SlowSink()
    sink.abort_next()
    _, status = run(tmp_path, [Records("p", lines)], sink, open_when_full(sink))
    assert [commit.records for commit in sink.commits] == [*range(BATCH, RECORDS + 1, BATCH), RECORDS]
    assert rejected(sink) == junk("p", RECORDS)
    bad = len(junk("p", RECORDS))
    expected = {
        "records_in": RECORDS,
        "scored": RECORDS - bad,
        "rejected": bad,
        "in_flight": 0,
        "alerts": len(sink.alerts),
    }
    assert {name: status[name] for name in expected} == expected
    assert (status["sink"]["aborted"], status["sink"]["transactions"]) == (1, len(sink.commits))


class RefusingSink(MemorySink):
    """Aborts the commits of these numbers, counted from 1."""

    def __init__(self, *refused):
        super().__init__()
        self.refused, self.tried = refused, 0

    def commit(self, commit):
        self.tried += 1
        if self.tried in self.refused:
            raise CommitAbortedError("not now")
        super().commit(commit)


def test_of_aborts_in_a_row_the_first_is_a_warning(tmp_path, lines):
    with capture_logs() as logs:
        run(tmp_path, [Records("p", lines)], RefusingSink(1, 2, 3, 5), lambda _: None)
    told = [entry for entry in logs if entry["event"] == "commit_aborted"]
    assert [entry["log_level"] for entry in told] == ["warning", "debug", "debug", "warning"]


def test_a_partition_goes_elsewhere_only_when_the_commit_under_way_and_what_is_scored_are_done(
    tmp_path, lines
):
    sink, released = SlowSink(), []
    source = MemorySource([Records("a", lines[:BATCH]), Records("b", lines[:1024])], bounded=False)

    def release(partitions):
        threading.Timer(0.2, sink.gate.set).start()
        source.reader.release(partitions)
        released.append([sorted(commit.moved) for commit in sink.commits])

    def beside(live):
        source.reader, source.release = live.feed.reader, release
        until(lambda: live.engine.status()["in_flight"] == 2 * BATCH)
        source.add(Revoke(("b",)), Records("a", lines[BATCH:1024]))
        source.finish()

    run(tmp_path, source, sink, beside)
    assert released == [[["a"], ["b"]]]
    assert [sorted(commit.moved) for commit in sink.commits] == [["a"], ["b"], ["a"], ["a"], ["a"], []]
    assert rejected(sink) == [*junk("a", BATCH), *junk("b", BATCH), *junk("a", 1024)[BATCH // JUNK :]]


def test_an_error_of_a_commit_in_the_background_ends_the_run(tmp_path, lines):
    sink = SlowSink()
    sink.gate.set()
    sink.fail_next("the disk is full")
    with pytest.raises(StoreError, match="the disk is full"):
        run(tmp_path, [Records("p", lines)], sink, lambda _live: None)
    assert sink.commits == []


def test_the_daemon_commits_at_once_after_a_quiet_while_and_else_so_long_after_the_commit_before(
    tmp_path, lines
):
    times = []

    class Sink(MemorySink):
        def commit(self, commit):
            if commit.moved:
                times.append(time.monotonic())
            super().commit(commit)

    source = MemorySource([Records("p", lines[:1024])], bounded=False)
    limits = {"batch_records": BATCH, "poll_ms": 20, "commit_ms": 1000}

    def feed():
        until(lambda: times)
        time.sleep(1.5)
        for first in range(1024, 1104, 20):
            added.append(time.monotonic())
            source.add(Records("p", lines[first : first + 20]))
            time.sleep(0.3)
        source.finish()

    added = []
    with (
        engine(tmp_path, source, made_by="run", training=TRAINING, limits=limits) as live,
        ThreadPoolExecutor(1) as feeding,
    ):
        live.feed.sink = Sink()
        feeding.submit(feed)
        live.engine.run()
    after_quiet, next_one = times[1] - added[0], times[2] - times[1]
    assert after_quiet < 0.9
    assert next_one >= 0.9
