"""The outbox: in order, from where it was, and never in the engine's way."""

from __future__ import annotations

import json
import threading
import time

import pytest
import structlog
from test_state_store import alert, open_store

from streamad.ports import Commit
from streamad.state import outbox as module
from streamad.state.outbox import Outbox


class ListOutlet:
    """Takes lines; fails or blocks when it is told to."""

    def __init__(self):
        self.lines, self.marks, self.closed = [], [], False
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.took = threading.Condition()

    def resume(self, mark):
        self.marks.append(mark)

    def deliver(self, lines):
        self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        with self.took:
            self.lines += [json.loads(line)["event_id"] for line in lines]
            self.took.notify_all()
        return {"count": len(self.lines)}

    def close(self):
        self.closed = True

    def wait_for(self, count):
        with self.took:
            assert self.took.wait_for(lambda: len(self.lines) >= count, timeout=10)


@pytest.fixture
def outlet():
    return ListOutlet()


@pytest.fixture
def start(tmp_path):
    def make(outlet, name="file"):
        made = Outbox(name, outlet, lambda: open_store(tmp_path), time.monotonic)
        made.start()
        return made

    return make


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path) as opened:
        yield opened


def commit(store, *numbers):
    store.commit(Commit({}, numbers[-1], alerts=[alert(number) for number in numbers]))


def events(*numbers):
    return [f"kdd/k.csv:{number}" for number in numbers]


def test_alerts_go_out_in_order_and_the_next_run_goes_on_behind_the_last_mark(store, outlet, start):
    commit(store, 1, 2)
    first = start(outlet)
    commit(store, 3)
    first.wake()
    outlet.wait_for(3)
    commit(store, 4)
    first.wake()
    assert first.close(10)
    assert (outlet.lines, outlet.marks, outlet.closed) == (events(1, 2, 3, 4), [None], True)
    assert store.outbox_mark("file") == (4, {"count": 4})

    commit(store, 5)
    again, other = ListOutlet(), ListOutlet()
    assert start(again).close(10)
    assert start(other, "other").close(10)
    assert (again.lines, again.marks) == (events(5), [{"count": 4}])
    assert other.lines == events(1, 2, 3, 4, 5)


def test_what_is_muted_is_passed_over_however_much_of_it_there_is(store, outlet, start):
    commit(store, 1)
    muted = [alert(number) | {"muted": "1f"} for number in range(2, 1100)]
    store.commit(Commit({}, 1100, alerts=muted))
    made = start(outlet)
    outlet.wait_for(1)
    commit(store, 1101)
    made.wake()
    assert made.close(30)
    assert outlet.lines == events(1, 1101)
    assert store.outbox_mark("file") == (1100, {"count": 2})
    assert store.muted() == {"1f": 1098}

    store.commit(Commit({}, 1101, alerts=[alert(1102) | {"muted": "1f"}]))
    other = ListOutlet()
    assert start(other).close(30)
    assert (other.lines, other.marks) == ([], [{"count": 2}])
    assert store.outbox_mark("file") == (1101, {"count": 2})


def test_more_alerts_than_one_delivery_takes_all_go_out(store, outlet, start):
    numbers = range(1, 1202)
    commit(store, *numbers)
    assert start(outlet).close(30)
    assert outlet.lines == events(*numbers)


def test_an_outlet_that_fails_is_tried_again_and_gets_every_alert_once(store, outlet, start, monkeypatch):
    monkeypatch.setattr(module, "_FIRST_DELAY", 0.01)
    outlet.failures = [OSError("no space"), ConnectionResetError("gone"), OSError("no space")]
    with structlog.testing.capture_logs() as logs:
        made = start(outlet)
        commit(store, 1, 2)
        made.wake()
        outlet.wait_for(2)
        assert made.close(10)
    assert outlet.lines == events(1, 2)
    assert logs == [
        {
            "event": "outlet_waits",
            "log_level": "warning",
            "outlet": "file",
            "error": "no space",
            "failures": 1,
        }
    ]


def test_an_outlet_that_keeps_failing_is_given_up_at_the_end_and_its_alerts_wait_for_the_next_run(
    store, outlet, start
):
    commit(store, 1)
    outlet.failures = [OSError("full")] * 100
    made = start(outlet)
    begun = time.monotonic()
    assert not made.close(10)
    assert time.monotonic() - begun < 5
    assert store.outbox_mark("file") == (0, None)
    again = ListOutlet()
    assert start(again).close(10)
    assert again.lines == events(1)


def test_a_blocked_outlet_stops_neither_commits_nor_the_end(store, outlet, start):
    outlet.gate.clear()
    made = start(outlet)
    for number in range(1, 20):
        commit(store, number)
        made.wake()
    begun = time.monotonic()
    assert not made.close(0.2)
    assert time.monotonic() - begun < 2
    outlet.gate.set()
    made._thread.join(10)
    assert outlet.lines == events(*range(1, 20))


def test_a_closed_pipe_ends_the_delivery_quietly(store, outlet, start):
    outlet.failures = [BrokenPipeError()]
    commit(store, 1)
    made = start(outlet)
    made._thread.join(10)
    assert (made.close(1), outlet.closed, outlet.lines) == (False, True, [])


def test_an_outlet_with_a_bug_is_logged_and_the_stream_goes_on(store, outlet, start):
    outlet.failures = [ZeroDivisionError("bug")]
    commit(store, 1)
    with structlog.testing.capture_logs() as logs:
        start(outlet)._thread.join(10)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("outlet_failed", "error")]
    commit(store, 2)
