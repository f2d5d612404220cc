"""`streamad mute`: given, listed, ended, and what it then keeps from being sent."""

from __future__ import annotations

import re

import pytest
from commands_help import NOW, Commands, alert, fill, open_store, seen

from streamad.ports import Commit, Mute
from streamad.runtime.clock import Clock
from streamad.state.times import SECOND, format_time

pytestmark = pytest.mark.usefixtures("now")


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    return Commands(tmp_path, capsys, monkeypatch)


@pytest.fixture
def now(monkeypatch):
    """Sets the time of day, in seconds after `NOW`."""

    def to(seconds):
        monkeypatch.setattr(Clock, "micros", lambda _self: NOW + seconds * SECOND)

    to(0)
    return to


def given(command, condition="user == bob", *, lasting="1h", why="a test", **options):
    words = [word for name, text in options.items() for word in (f"--{name}", text)]
    (row,) = command.rows("mute", condition, "--for", lasting, "--why", why, *words)
    return row


def test_a_mute_is_kept_with_who_why_and_until(tmp_path, command):
    fill(tmp_path)
    row = given(command, "user == bob and bytes > 1e3", lasting="7d", analyst="ann")
    assert row == {
        "id": row["id"],
        "condition": "user == bob and bytes > 1e3",
        "analyst": "ann",
        "why": "a test",
        "since": "2026-01-01T00:00:00.000Z",
        "until": "2026-01-08T00:00:00.000Z",
        "ended_at": None,
        "ended_by": "",
    }
    assert re.fullmatch("[0-9a-f]{8}", row["id"])
    with open_store(tmp_path) as store:
        assert store.mutes() == [Mute(**row)] == store.news().mutes


def test_mutes_are_listed_whatever_became_of_them(tmp_path, command, now):
    fill(tmp_path, seen(1), seen(2), muted={})
    ids = [given(command, f"bytes == {n}", lasting=f"{n}h")["id"] for n in (1, 2, 3)]
    with open_store(tmp_path) as store:
        store.commit(Commit({}, 101, alerts=[alert(seen(3)) | {"muted": ids[2]}]))
    now(1800)
    (ended,) = command.rows("mute", "--end", ids[1], "--analyst", "bob")
    assert (ended["ended_at"], ended["ended_by"]) == ("2026-01-01T00:30:00.000Z", "bob")
    now(3600)
    assert [(row["id"], row["in_force"], row["alerts"]) for row in command.rows("mute", "--list")] == [
        (id_, in_force, alerts)
        for id_, in_force, alerts in sorted(
            zip(ids, (False, False, True), (0, 0, 1), strict=True), key=lambda row: row[0]
        )
    ]
    lines = {line.split()[0]: " ".join(line.split()) for line in command.screen("mute", "--list")}
    assert lines == {
        "ID": "ID STATE ALERTS CONDITION BY WHY",
        ids[0]: f"{ids[0]} over since 2026-01-01T01:00:00.000Z 0 bytes == 1 - a test",
        ids[1]: f"{ids[1]} ended 2026-01-01T00:30:00.000Z by bob 0 bytes == 2 - a test",
        ids[2]: f"{ids[2]} until 2026-01-01T03:00:00.000Z 1 bytes == 3 - a test",
    }


def test_people_are_told_until_when_and_that_it_ended(tmp_path, command):
    fill(tmp_path)
    (line,) = command.screen("mute", "user == bob", "--for", "30s", "--why", "x")
    name = line.partition(":")[0]
    assert line == (
        f"{name}: muted until 2026-01-01T00:00:30.000Z, as soon as a running process learns of it"
    )
    assert command.screen("mute", "--end", name) == [f"{name}: ended"]


def refused(command, *words):
    return command("mute", *words, code=2).err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "mute needs a condition, --list or --end ID"),
        (("user == bob", "--list"), "mute needs a condition, --list or --end ID"),
        (("user == bob",), "mute needs --for, such as 7d, and --why, for whoever looks at it later"),
        (
            ("user == bob", "--for", "7d"),
            "mute needs --for, such as 7d, and --why, for whoever looks at it later",
        ),
        (
            ("user == bob", "--for", "soon", "--why", "x"),
            "--for: found 'soon', expected a number and a unit: 30s, 15m, 12h or 90d",
        ),
        (
            ("user == bob", "--for", "4000d", "--why", "x"),
            "--for: found 4000d, expected more than nothing and at most 3650d",
        ),
        (
            ("usr == bob", "--for", "7d", "--why", "x"),
            "condition, character 1: the schema has no field usr, did you mean user?: -->usr == bob",
        ),
        (("--end", "1f"), "no mute in force has the id '1f'; mute CONFIG --list names them"),
    ],
)
def test_what_is_no_mute_is_refused_in_one_sentence(tmp_path, command, words, sentence):
    fill(tmp_path)
    assert refused(command, *words) == f"streamad: {sentence}\n"


def test_a_mute_that_is_over_cannot_be_ended(tmp_path, command, now):
    fill(tmp_path)
    name = given(command, lasting="1h")["id"]
    now(3600)
    assert "no mute in force has the id" in refused(command, "--end", name)


def test_no_more_than_a_hundred_mutes_are_in_force(tmp_path, command, now):
    fill(tmp_path)
    with open_store(tmp_path) as store:
        for number in range(100):
            store.put_mute(
                Mute(f"{number}", "user == a", "", "", format_time(NOW), format_time(NOW + SECOND))
            )
    more = ("user == b", "--for", "1h", "--why", "x")
    assert "100 mutes are in force, and no more can be" in refused(command, *more)
    now(1)
    given(command)


def test_hostile_text_is_spelled_out_where_people_see_mutes(tmp_path, command):
    fill(tmp_path)
    given(command, "user == '\x1b[31m'", why="\x1b[2J", analyst="\u202e")
    assert all(line.isprintable() for line in command.screen("mute", "--list"))


def test_mutes_survive_a_fresh_start(tmp_path, command):
    fill(tmp_path, made_by="replay")
    name = given(command)["id"]
    with open_store(tmp_path, made_by="replay") as store:
        store.start_anew()
        assert [mute.id for mute in store.mutes()] == [name]
