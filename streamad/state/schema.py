"""The embedded store's tables, and how a connection to them is opened and used."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from streamad.errors import StateError, StoreError
from streamad.state.tables import ADDED, TABLES

STORE_FORMAT = 1
_BUSY_MS = 30_000
_NO_STATE = "no state yet in {}: run or replay first"
_REFUSALS = {
    sqlite3.SQLITE_FULL: "the store could not write: the disk is full",
    sqlite3.SQLITE_IOERR: "the store could not write: the disk failed or is full",
    sqlite3.SQLITE_BUSY: "the store is held by another process",
    sqlite3.SQLITE_CANTOPEN: "the store cannot be opened",
}
_MISTAKES = {
    sqlite3.SQLITE_CORRUPT: "store.db is damaged",
    sqlite3.SQLITE_NOTADB: "store.db is damaged or is no store of streamad",
    sqlite3.SQLITE_PERM: "store.db may not be opened",
    sqlite3.SQLITE_READONLY: "store.db may not be written",
}
_WAL_BYTES = 64 << 20
"""What the write-ahead log is cut back to once it was larger."""


def open_writer(path: Path) -> sqlite3.Connection:
    """A connection that may write; makes the store where there is none.

    Raises `StoreError` where the disk refuses, `StateError` for a file that is no store of this format.
    """
    with store_errors():
        # Made before SQLite sees it: the mode must not depend on the umask, and the -wal and -shm files
        # take theirs from this file.
        if not path.exists():
            path.touch(mode=0o600)
            path.chmod(0o600)
        db = _connect(path, "rw")
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises `StateError` where there is no store."""
    if not path.exists():
        raise StateError(_NO_STATE.format(path.parent))
    with store_errors():
        db = _connect(path, "ro")
        try:
            made, complete = _format(db, path) != 0, _is_complete(db)
        except BaseException:
            db.close()
            raise
    if not made:
        db.close()
        raise StateError(_NO_STATE.format(path.parent))
    if not complete:  # an older streamad wrote it last
        open_writer(path).close()
    return db


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # isolation_level=None: every transaction below is begun by name, none by the module's guess.
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    # A store is hostile until proven otherwise: its own schema may not call functions with effects.
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    if _format(db, path) == 0:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 1000")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    if _is_complete(db):
        return
    with transaction(db):
        # Again under the write lock: another process may have made the tables in between.
        if _format(db, path) == 0:
            _run(db, TABLES)
            db.execute(f"PRAGMA user_version = {STORE_FORMAT}")
        for table in _missing(db):
            _run(db, ADDED[table])


def _is_complete(db: sqlite3.Connection) -> bool:
    """Whether it has all tables and columns that this streamad knows."""
    return not _missing(db)


def _missing(db: sqlite3.Connection) -> list[str]:
    """What was added to format 1 after the store was made."""
    tables = {row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return [table for table in ADDED if table not in tables]


def _run(db: sqlite3.Connection, script: str) -> None:
    for statement in _statements(script):
        db.execute(statement)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the open transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _format(db: sqlite3.Connection, path: Path) -> int:
    """The store's format, 0 where its tables were not made yet."""
    number = int(db.execute("PRAGMA user_version").fetchone()[0])
    if number not in (0, STORE_FORMAT):
        raise StateError(f"{path} has format {number}, this streamad reads format {STORE_FORMAT}")
    return number


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """One ``BEGIN IMMEDIATE`` transaction: all of the body is kept, or none of it.

    Raises `StoreError` where the disk refuses.
    """
    with store_errors():
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            # On a full disk SQLite may have rolled back by itself.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


@contextmanager
def store_errors() -> Iterator[None]:
    """Say what the disk refused in one sentence; what is our own mistake passes through.

    Raises `StoreError` where a restart may help, `StateError` for a damaged file or missing rights.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        # The low byte is the primary result code.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _MISTAKES:
            raise StateError(f"{_MISTAKES[code]} ({error})") from error
        if code in _REFUSALS:
            raise StoreError(f"{_REFUSALS[code]} ({error})") from error
        raise
    except PermissionError as error:
        raise StateError(f"the store may not be opened ({error})") from error
    except OSError as error:
        raise StoreError(f"the store cannot be opened ({error})") from error


def dump(value: Any) -> str:  # noqa: ANN401  # any JSON-able value
    """Compact JSON. Lone surrogates, which SQLite could not hold, come out as escapes."""
    try:
        return to_json(value, inf_nan_mode="null").decode()  # a third of the standard encoder's time
    except PydanticSerializationError:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))


def plain(text: str | None) -> str | None:
    """Text that SQLite can hold: lone surrogates become escapes."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()
