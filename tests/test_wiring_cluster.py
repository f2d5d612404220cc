"""A trainer becomes the active one, or stands by, whatever the brokers do in between."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from streamad.errors import CommitAbortedError, NumberTakenError, OutOfTouchError
from streamad.wiring import trainer
from streamad.wiring.trainer import last_version, train


class Publisher:
    def __init__(self, active, last):
        self._active, self._last = active, last

    def wait_until_active(self, timeout):
        assert timeout > 0
        return self._active

    def last_version(self):
        if self._last is None:
            raise CommitAbortedError("not the active one")
        return self._last


@pytest.mark.parametrize(
    ("active", "last", "found"), [(True, 3, 3), (True, 0, 0), (False, 3, None), (True, None, None)]
)
def test_who_is_put_out_while_it_asks_for_the_last_version_stands_by_again(active, last, found):
    assert last_version(Publisher(active, last)) == found


def trained(monkeypatch, *errors):
    """What becomes of a trainer whose turns end so, the last one with a stop: what it raised, and why it stood by."""
    monkeypatch.setattr(trainer, "_AGAIN_SECONDS", 0)
    monkeypatch.setattr(trainer, "_engine", lambda _member, _opened, last: nullcontext(last))
    part = SimpleNamespace(
        close=lambda: None, wait_until_active=lambda _timeout: True, last_version=lambda: 3
    )
    job = SimpleNamespace(stop=threading.Event(), on_status=lambda _status: None)
    plugin = SimpleNamespace(open_trainer=lambda *_: (part, part, part, part))
    member = SimpleNamespace(job=job, plugin=plugin, state=None, source=None, context=None)
    turns = [*errors]

    def run(_engine):
        if turns:
            raise turns.pop(0)

    raised = None
    with capture_logs() as logs:
        try:
            train(member, run)
        except OutOfTouchError as error:
            raised = str(error)
    return raised, [log["why"] for log in logs]


def test_a_trainer_stands_by_again_where_its_number_was_taken_and_ends_where_that_would_go_on_for_ever(
    monkeypatch,
):
    four, five, away = NumberTakenError("4 is taken"), NumberTakenError("5 is taken"), OutOfTouchError("away")
    assert trained(monkeypatch, four, five, four) == (None, ["4 is taken", "5 is taken", "4 is taken"])
    assert trained(monkeypatch, four, away, four) == (None, ["4 is taken", "away", "4 is taken"])
    assert trained(monkeypatch, away, away) == (None, ["away", "away"])
    assert trained(monkeypatch, five, four, four, away) == ("4 is taken", ["5 is taken", "4 is taken"])
