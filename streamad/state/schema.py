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

_TABLES = """
CREATE TABLE alerts (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    key TEXT,
    record_number INTEGER,
    p_value REAL,
    scored_at INTEGER NOT NULL,
    line TEXT NOT NULL
);
CREATE INDEX alerts_key ON alerts(key) WHERE key IS NOT NULL;

CREATE TABLE rejected (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    reason TEXT NOT NULL,
    arrived_at INTEGER NOT NULL,
    line TEXT NOT NULL
);
-- Also what counting the rows reads: the rows themselves hold up to 4 KiB of payload each.
CREATE INDEX rejected_reason ON rejected(reason);

CREATE TABLE pool (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    key TEXT,
    kind TEXT NOT NULL,
    record_number INTEGER,
    score REAL,
    p_value REAL,
    probability REAL,
    signature TEXT NOT NULL,
    reasons TEXT NOT NULL,
    record TEXT NOT NULL,
    labeled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX pool_key ON pool(key) WHERE key IS NOT NULL;
CREATE INDEX pool_oldest ON pool(kind, n) WHERE labeled = 0;

-- How many rows of each kind are unlabeled, kept by triggers so that no commit has to count.
CREATE TABLE pool_size (kind TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER pool_in AFTER INSERT ON pool WHEN new.labeled = 0 BEGIN
    INSERT INTO pool_size VALUES (new.kind, 1) ON CONFLICT (kind) DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER pool_out AFTER DELETE ON pool WHEN old.labeled = 0 BEGIN
    UPDATE pool_size SET rows = rows - 1 WHERE kind = old.kind;
END;
CREATE TRIGGER pool_labeled AFTER UPDATE OF labeled ON pool WHEN new.labeled <> old.labeled BEGIN
    UPDATE pool_size SET rows = rows + (CASE new.labeled WHEN 0 THEN 1 ELSE -1 END) WHERE kind = new.kind;
END;

-- ready: the order in which labels became applicable; NULL while one waits for its record.
CREATE TABLE labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    verdict TEXT NOT NULL,
    analyst TEXT NOT NULL,
    labeled_at INTEGER NOT NULL,
    counts_from INTEGER NOT NULL,
    note TEXT NOT NULL,
    record TEXT,
    record_number INTEGER,
    ready INTEGER UNIQUE,
    UNIQUE (event_id, verdict, analyst, labeled_at)
);
CREATE INDEX labels_latest ON labels(event_id, counts_from, id);
CREATE INDEX labels_waiting ON labels(id) WHERE ready IS NULL;

CREATE TABLE label_log (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    label_id INTEGER NOT NULL REFERENCES labels(id),
    event_id TEXT NOT NULL,
    verdict TEXT NOT NULL,
    record_number INTEGER NOT NULL
);
CREATE INDEX label_log_event ON label_log(event_id, n);

CREATE TABLE versions (
    number INTEGER PRIMARY KEY,
    status TEXT NOT NULL,
    created_record INTEGER,
    created_at INTEGER NOT NULL,
    parent INTEGER,
    numbers TEXT NOT NULL,
    kept INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    command TEXT NOT NULL,
    number INTEGER,
    asked_at INTEGER NOT NULL
);

CREATE TABLE positions (partition TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoint (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), records INTEGER NOT NULL);
CREATE TABLE heartbeat (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    pid INTEGER NOT NULL,
    state TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    counters TEXT NOT NULL
);
CREATE TABLE outbox (outlet TEXT PRIMARY KEY, n INTEGER NOT NULL, mark TEXT NOT NULL) WITHOUT ROWID;
"""


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
            made = _format(db, path) != 0
        except BaseException:
            db.close()
            raise
    if not made:
        db.close()
        raise StateError(_NO_STATE.format(path.parent))
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
    if _format(db, path) != 0:
        return
    with transaction(db):
        # Again under the write lock: another process may have made the tables in between.
        if _format(db, path) == 0:
            for statement in _statements(_TABLES):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {STORE_FORMAT}")


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
