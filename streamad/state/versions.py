"""Versions of the model: what the store knows about each artifact, and the requests of other commands."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from streamad.errors import UserError
from streamad.state.schema import dump

Status = Literal["candidate", "active", "retired", "refused", "failed", "corrupted"]


@dataclass(frozen=True, slots=True)
class Version:
    """One artifact's row."""

    number: int
    status: Status
    created_record: int | None
    """The record at which its training began."""
    created_at: int
    """Microseconds since 1970."""
    parent: int | None
    numbers: dict[str, Any]
    """What the decision about it was based on."""
    kept: bool
    """False once its files were removed."""
    pinned: bool = False
    """Whether its files stay, and no training takes its place while it scores."""


@dataclass(frozen=True, slots=True)
class Request:
    """What another command asks of the engine: ``promote`` a version, or ``rollback`` to the parent."""

    id: int
    command: Literal["promote", "rollback"]
    number: int | None


def put(db: sqlite3.Connection, row: Mapping[str, Any], now: int) -> None:
    """Begin or change a version; what `row` does not name stays. A new active one retires the old one."""
    if row.get("status") == "active":
        db.execute(
            "UPDATE versions SET status = 'retired' WHERE status = 'active' AND number <> ?", (row["number"],)
        )
    numbers = None if row.get("numbers") is None else dump(row["numbers"])
    db.execute(
        "INSERT INTO versions (number, status, created_record, created_at, parent, numbers)"
        " VALUES (:number, coalesce(:status, 'candidate'), :created_record, :now, :parent,"
        " coalesce(:numbers, '{}'))"
        " ON CONFLICT (number) DO UPDATE SET status = coalesce(:status, status),"
        " created_record = coalesce(:created_record, created_record),"
        " parent = coalesce(:parent, parent), numbers = coalesce(:numbers, numbers)",
        {
            "number": row["number"],
            "status": row.get("status"),
            "created_record": row.get("created_record"),
            "parent": row.get("parent"),
            "numbers": numbers,
            "now": now,
        },
    )


def every(db: sqlite3.Connection) -> list[Version]:
    """All versions, oldest first."""
    query = "SELECT *, number IN (SELECT version FROM pins) AS pinned FROM versions ORDER BY number"
    return [_version(row) for row in db.execute(query)]


def _version(row: sqlite3.Row) -> Version:
    values = dict(row)
    values["numbers"] = json.loads(values["numbers"])
    values["kept"], values["pinned"] = bool(values["kept"]), bool(values["pinned"])
    return Version(**values)


def ask(db: sqlite3.Connection, command: Literal["promote", "rollback"], number: int | None, now: int) -> int:
    """Leave a request for the engine; returns its id.

    Raises `UserError` for a version that cannot be had.
    """
    known = {version.number: version for version in every(db)}
    active = next((version for version in known.values() if version.status == "active"), None)
    if command == "rollback":
        number = active.parent if active else None
        if number is None:
            raise UserError("there is no version to roll back to")
    _check(known.get(number) if number is not None else None, number)
    cursor = db.execute(
        "INSERT INTO requests (command, number, asked_at) VALUES (?, ?, ?)", (command, number, now)
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _check(version: Version | None, number: int | None) -> None:
    if version is None:
        raise UserError(f"there is no version {number}")
    if version.status in ("failed", "corrupted"):
        raise UserError(f"version {number} cannot be used: it is {version.status}")
    if not version.kept:
        raise UserError(f"the files of version {number} were removed (keep.versions)")


def pin(db: sqlite3.Connection, number: int) -> None:
    """Pin a version; nothing changes where it is. Raises `UserError` for one that cannot be had."""
    _check(next((version for version in every(db) if version.number == number), None), number)
    db.execute("INSERT OR IGNORE INTO pins VALUES (?)", (number,))


def unpin(db: sqlite3.Connection, number: int) -> None:
    """Take a pin away. Raises `UserError` where there is none."""
    if not db.execute("DELETE FROM pins WHERE version = ?", (number,)).rowcount:
        raise UserError(f"version {number} is not pinned")


def requests(db: sqlite3.Connection) -> list[Request]:
    """What is still to be done, in order."""
    rows = db.execute("SELECT id, command, number FROM requests ORDER BY id")
    return [Request(row["id"], row["command"], row["number"]) for row in rows]


def dismiss(db: sqlite3.Connection, request_ids: Sequence[int]) -> None:
    """Take requests away."""
    db.executemany("DELETE FROM requests WHERE id = ?", [(one,) for one in request_ids])


def surplus(db: sqlite3.Connection, keep: int, pinned: Collection[int] = ()) -> list[int]:
    """The versions whose files may go: all but the newest `keep`, those `pinned`, the active one and its parent."""
    known = [version for version in every(db) if version.kept]
    active = next((version for version in known if version.status == "active"), None)
    spared = {*pinned, *((active.number, active.parent) if active else ())}
    return [one.number for one in known[:-keep] if one.number not in spared and not one.pinned]


def mark_removed(db: sqlite3.Connection, number: int) -> None:
    """Note that a version's files are gone."""
    db.execute("UPDATE versions SET kept = 0 WHERE number = ?", (number,))
