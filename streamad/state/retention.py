"""What the store lets go: old alerts and rejected entries, surplus versions, everything on ``--fresh``."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from streamad.state import versions
from streamad.state.options import KeepOptions
from streamad.state.schema import store_errors, transaction
from streamad.state.times import SECOND

_ROWS = 2000
"""Rows of a table dropped at once: a bounded pause for the engine that calls this."""

_PAGES = 256
"""Pages given back to the file system at once (1 MiB)."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one call dropped."""

    alerts: int
    rejected: int
    versions: tuple[int, ...]
    over_size: bool
    """Whether rows had to go early, because the store is larger than ``keep.max_gb``."""


def prune(db: sqlite3.Connection, keep: KeepOptions, artifacts: Path, now: int) -> Pruned:
    """Drop at most a few thousand rows and the files of surplus versions; files go after the commit.

    Raises `StoreError` where the disk refuses.
    """
    with store_errors():
        over = _size(db) > keep.max_gb * 2**30
    with transaction(db):
        alerts = _drop(db, "alerts", "scored_at", now - keep.alerts * SECOND, early=over)
        rejected = _drop(db, "rejected", "arrived_at", now - keep.rejected * SECOND, early=over)
        removed = tuple(versions.surplus(db, keep.versions, keep.pinned))
        for number in removed:
            versions.mark_removed(db, number)
    for number in removed:
        shutil.rmtree(artifacts / f"{number:06d}", ignore_errors=True)
    if alerts or rejected:
        with store_errors():
            db.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
    return Pruned(alerts, rejected, removed, over and bool(alerts or rejected))


def _size(db: sqlite3.Connection) -> int:
    """Bytes in use in the database file."""
    pages = db.execute("PRAGMA page_count").fetchone()[0] - db.execute("PRAGMA freelist_count").fetchone()[0]
    return int(pages * db.execute("PRAGMA page_size").fetchone()[0])


def _drop(db: sqlite3.Connection, table: str, column: str, before: int, *, early: bool) -> int:
    """Drop the oldest rows of a table that are past their time, or whatever is oldest where it is early.

    Rows arrive in order of time, so only the oldest few are looked at.
    """
    condition = "1" if early else f"{column} < {before:d}"
    cursor = db.execute(
        f"DELETE FROM {table} WHERE n IN (SELECT n FROM {table} ORDER BY n LIMIT {_ROWS}) AND {condition}"  # noqa: S608  # constant names
    )
    return cursor.rowcount


def clear(db: sqlite3.Connection, made_by: str) -> None:
    """Empty every table but the labels, which become as if they had just arrived."""
    for table in (
        "alerts",
        "rejected",
        "pool",
        "label_log",
        "versions",
        "pins",
        "requests",
        "positions",
        "checkpoint",
        "progress",
        "heartbeat",
        "outbox",
    ):
        db.execute(f"DELETE FROM {table}")  # noqa: S608  # constant names
    db.execute("DELETE FROM sqlite_sequence WHERE name <> 'labels'")
    db.execute("UPDATE labels SET record_number = NULL, ready = NULL")
    if made_by == "run":
        # There a label that holds its record is ready, and their order is that of their arrival.
        db.execute("UPDATE labels SET ready = id WHERE record IS NOT NULL")
