"""``run --from``: what a daemon takes over from a finished replay."""

from __future__ import annotations

import shutil
import sqlite3

from streamad.errors import StateError
from streamad.state.directory import StateDirectory
from streamad.state.schema import open_writer, store_errors, transaction


def inherit(source: StateDirectory, target: StateDirectory) -> None:
    """Copy models, labels and the label log into a state that has none; positions and alerts stay behind.

    The label log keeps its places, since artifacts name them. Needs the target's lock. Safe to repeat after
    a crash: artifacts are copied first, and the rows in one transaction.

    Raises `StateError` where the schemas differ or the target already learned something, `StoreError` where
    the disk refuses.
    """
    if source.schema != target.schema:
        raise StateError(f"{source.path} has another schema than {target.path}")
    db = open_writer(target.store)
    try:
        if db.execute("SELECT 1 FROM progress UNION SELECT 1 FROM versions").fetchone():
            raise StateError(f"{target.path} already has a model: --from needs a new state")
        with store_errors():
            shutil.copytree(source.artifacts, target.artifacts, dirs_exist_ok=True)
            db.execute("ATTACH DATABASE ? AS source", (f"{source.store.as_uri()}?mode=ro",))
        with transaction(db):
            _copy_rows(db)
    finally:
        db.close()


def _copy_rows(db: sqlite3.Connection) -> None:
    for table in ("labels", "label_log", "versions"):
        db.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table}")  # noqa: S608  # constant names
    # Record numbers count the records of the replay: here they mean nothing.
    db.execute("UPDATE main.labels SET record_number = NULL, ready = NULL")
    db.execute("UPDATE main.labels SET ready = id WHERE record IS NOT NULL")
    db.execute("UPDATE main.label_log SET record_number = 0")
