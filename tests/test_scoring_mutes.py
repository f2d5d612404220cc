"""Mutes: which alerts they name, and when."""

from __future__ import annotations

from structlog.testing import capture_logs

from streamad.ports import Mute
from streamad.records.schema import Schema
from streamad.scoring.mutes import Mutes

SCHEMA = Schema(fields={"user": "id", "bytes": "numeric"})
UNTIL = "2026-01-01T01:00:00.000Z"


def mute(name, condition, **more):
    return Mute(name, condition, "ann", "a test", "2026-01-01T00:00:00.000Z", UNTIL, **more)


def marked(mutes, user="bob", at="2026-01-01T00:30:00.000Z"):
    alert = {"scored_at": at, "record": {"user": user, "bytes": 5}}
    mutes.mark([alert])
    return alert.get("muted")


def taken(*mutes):
    found = Mutes(SCHEMA)
    found.take(mutes)
    return found


def test_an_alert_is_named_after_the_first_mute_that_it_meets():
    mutes = taken(mute("a", "bytes > 5"), mute("b", "user == bob"), mute("c", "bytes == 5"))
    assert (marked(mutes), marked(mutes, "ann"), marked(taken())) == ("b", "c", None)


def test_a_mute_holds_until_its_time_by_when_an_alert_was_scored():
    mutes = taken(mute("a", "user == bob"))
    times = ("2026-01-01T00:59:59.999Z", UNTIL, "2026-01-02T00:00:00.000Z")
    assert [marked(mutes, at=at) for at in times] == ["a", None, None]


def test_a_mute_that_was_ended_holds_no_longer():
    assert marked(taken(mute("a", "user == bob", ended_at="2026-01-01T00:10:00.000Z"))) is None


def test_what_is_in_force_is_what_was_told_last():
    mutes = taken(mute("a", "user == bob"))
    mutes.take([mute("b", "user == ann")])
    assert (marked(mutes), marked(mutes, "ann")) == (None, "b")
    mutes.take([mute("b", "user == bob")])
    assert (marked(mutes), marked(mutes, "ann")) == ("b", None)


def test_a_mute_that_the_schema_does_not_allow_mutes_nothing_and_is_told_of_once():
    mutes = Mutes(SCHEMA)
    with capture_logs() as logs:
        for _ in range(3):
            mutes.take([mute("a", "usr == bob"), mute("b", "user == bob")])
    assert marked(mutes) == "b"
    assert [(log["event"], log["id"]) for log in logs] == [("mute_without_effect", "a")]


def test_of_too_many_mutes_the_last_hundred_count():
    with capture_logs() as logs:
        mutes = taken(*(mute(f"{n}", f"bytes == 5 and user == u{n}") for n in range(150)))
    assert (marked(mutes, "u49"), marked(mutes, "u50"), marked(mutes, "u149")) == (None, "50", "149")
    assert [log["count"] for log in logs] == [50]
