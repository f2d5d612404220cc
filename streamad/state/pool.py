"""The pool: records of alerts, candidates and a random sample, kept so that they can be labeled and shown."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from streamad.state.labels import is_labeled
from streamad.state.schema import dump, plain

Kind = Literal["alert", "candidate", "random"]

_COLUMNS = (
    "n, event_id, key, kind, record_number, score, p_value, probability, signature, reasons, record, labeled"
)


@dataclass(frozen=True)
class PoolRow:
    """One record of the pool. A queue is chosen from thousands, so that JSON is read only where somebody looks."""

    n: int
    """Its place in the order of arrival."""
    event_id: str
    key: str | None
    kind: Kind
    record_number: int | None
    score: float | None
    p_value: float | None
    probability: float | None
    signature: str
    """Groups alike events: the queue shows few of one group."""
    reasons_json: str
    record_json: str
    labeled: bool
    burst: str | None = None
    """The id of the first alert of its burst, where it is an alert and that was asked for."""

    @cached_property
    def reasons(self) -> list[dict[str, Any]]:
        """As an alert has them."""
        reasons: list[dict[str, Any]] = json.loads(self.reasons_json)
        return reasons

    @cached_property
    def record(self) -> dict[str, Any]:
        """The record's fields."""
        record: dict[str, Any] = json.loads(self.record_json)
        return record

    @cached_property
    def matter(self) -> str:
        """What a question would be about: alike events that surprise by the same field."""
        return f"{self.signature} {self.reasons[0]['field'] if self.reasons else ''}"


def insert(db: sqlite3.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows: dicts named like `PoolRow`'s fields, without ``n`` and ``labeled``.

    Raises `sqlite3.IntegrityError` for an event that is there already: our bug.
    """
    some = db.execute("SELECT 1 FROM labels LIMIT 1").fetchone()
    db.executemany(
        "INSERT INTO pool (event_id, key, kind, record_number, score, p_value, probability, signature,"
        " reasons, record, labeled) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        # An event can have its verdict before it enters the pool.
        [(*_values(row), bool(some) and is_labeled(db, row["event_id"])) for row in rows],
    )


def _values(row: Mapping[str, Any]) -> tuple[Any, ...]:
    plain_columns = (row.get(name) for name in ("record_number", "score", "p_value", "probability"))
    return (
        plain(row["event_id"]),
        plain(row.get("key")),
        row["kind"],
        *plain_columns,
        plain(row.get("signature", "")),
        dump(row.get("reasons", [])),
        dump(row["record"]),
    )


def trim(db: sqlite3.Connection, limit: int) -> None:
    """Drop unlabeled rows until `limit` are left: the oldest of whichever kind has most rows.

    The cost depends on the rows dropped, not on the pool: the sizes come from triggers, the oldest rows from
    an index.
    """
    sizes: dict[str, int] = dict(db.execute("SELECT kind, rows FROM pool_size").fetchall())
    for kind, keep in _level(sizes, limit).items():
        if keep < sizes[kind]:
            db.execute(
                "DELETE FROM pool WHERE n IN"
                " (SELECT n FROM pool WHERE kind = ? AND labeled = 0 ORDER BY n LIMIT ?)",
                (kind, sizes[kind] - keep),
            )


def _level(sizes: Mapping[str, int], limit: int) -> dict[str, int]:
    """How many rows each kind keeps: the larger kinds are cut down to one level.

    >>> _level({"alert": 5, "candidate": 9, "random": 2}, 10)
    {'random': 2, 'alert': 4, 'candidate': 4}
    """
    kept: dict[str, int] = {}
    for kind in sorted(sizes, key=lambda kind: (sizes[kind], kind)):
        kept[kind] = min(sizes[kind], (limit - sum(kept.values())) // (len(sizes) - len(kept)))
    return kept


def find(db: sqlite3.Connection, name: str) -> list[PoolRow]:
    """The rows whose event id or key is `name`."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM pool WHERE event_id = ?1 OR key = ?1 ORDER BY n",  # noqa: S608  # constant names
        (plain(name),),
    )
    return [_row(row) for row in rows]


def unlabeled(db: sqlite3.Connection, limit: int) -> list[PoolRow]:
    """The newest rows without a verdict that are not muted, at most `limit`, newest first."""
    columns = ", ".join(f"pool.{name}" for name in _COLUMNS.split(", "))
    rows = db.execute(
        f"SELECT {columns}, alerts.burst FROM pool LEFT JOIN alerts USING (event_id)"  # noqa: S608  # constant names
        " WHERE labeled = 0 AND muted IS NULL ORDER BY pool.n DESC LIMIT ?",
        (limit,),
    )
    return [_row(row) for row in rows]


def asked(db: sqlite3.Connection) -> Counter[tuple[str, str]]:
    """How many rows of each `PoolRow.matter` have which verdict."""
    rows = db.execute(
        "SELECT signature || ' ' || coalesce(json_extract(reasons, '$[0].field'), ''), verdict, count(*)"
        " FROM (SELECT signature, reasons, (SELECT verdict FROM labels WHERE event_id = pool.event_id"
        " ORDER BY counts_from DESC, id DESC LIMIT 1) AS verdict FROM pool WHERE labeled = 1) GROUP BY 1, 2"
    )
    return Counter({(matter, verdict): count for matter, verdict, count in rows})


def _row(row: sqlite3.Row) -> PoolRow:
    values = dict(row)
    texts = {f"{name}_json": values.pop(name) for name in ("reasons", "record")}
    return PoolRow(**values | texts | {"labeled": bool(row["labeled"])})
