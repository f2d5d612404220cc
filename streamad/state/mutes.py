"""The store's mutes: those in force and those that were, with who gave them and why."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, fields

from streamad.ports import Mute
from streamad.state.schema import plain

_COLUMNS = ", ".join(field.name for field in fields(Mute))


def put(db: sqlite3.Connection, mute: Mute) -> None:
    """Add a mute, or change the one with its id."""
    places = ", ".join("?" * len(fields(Mute)))
    db.execute(
        f"INSERT OR REPLACE INTO mutes ({_COLUMNS}) VALUES ({places})",  # noqa: S608  # constant names
        [plain(value) for value in astuple(mute)],
    )


def every(db: sqlite3.Connection) -> list[Mute]:
    """All that there ever were, oldest first."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM mutes ORDER BY since, id")  # noqa: S608  # constant names
    return [Mute(*row) for row in rows]


def in_force(db: sqlite3.Connection, now: str) -> list[Mute]:
    """Those that hold at a time."""
    return [mute for mute in every(db) if mute.holds_at(now)]
