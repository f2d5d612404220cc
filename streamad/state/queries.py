"""What commands read from the store: each query short, none with a transaction across a pause."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from streamad.ports import Mute
from streamad.state import labels, mutes, pool, versions
from streamad.state.schema import open_reader, plain, store_errors
from streamad.state.times import format_time
from streamad.state.versions import Version


class Line(NamedTuple):
    """One stored alert or rejected entry."""

    n: int
    """Its place in the order of commit; ask for what is `after` it."""
    text: str
    """The JSON as it was committed, without a line end."""
    repeats: int = 0
    """How many kept alerts repeat it, where that was asked for."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows of each kind the store holds."""

    records: int
    """Records of the feed up to the last commit."""
    alerts: int
    rejected: int
    anomalies: int
    """Events whose verdict is anomaly."""
    normals: int
    waiting: int
    """Labels that wait for their record."""
    pool: int

    @property
    def labels(self) -> int:
        """Events with a verdict."""
        return self.anomalies + self.normals


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the engine said last about itself."""

    pid: int
    state: str
    updated_at: int
    """Microseconds since 1970."""
    counters: dict[str, Any]


class Reader:
    """The reading side of the store. One object a thread.

    Raises `StateError` at the start where there is no store yet.
    """

    def __init__(self, path: Path) -> None:
        self._db = open_reader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connection."""
        self._db.close()

    def alerts(self, after: int = 0, limit: int = 1000) -> list[Line]:
        """The alerts beyond place `after`, oldest first, at most `limit`."""
        return self._lines("SELECT n, line FROM alerts WHERE n > ? ORDER BY n LIMIT ?", after, limit)

    def last_alerts(self, limit: int) -> list[Line]:
        """The newest alerts, oldest of them first."""
        rows = self._rows("SELECT n, line FROM alerts ORDER BY n DESC LIMIT ?", limit)
        return [Line(row["n"], row["line"]) for row in reversed(rows)]

    def bursts(self, after: int = 0, limit: int = 1000) -> list[Line]:
        """Of the alerts beyond place `after` those to look at, which are neither repeats nor muted, oldest first."""
        return self._firsts(f"{_FIRSTS} AND n > ? ORDER BY n LIMIT ?", after, limit)

    def last_bursts(self, limit: int) -> list[Line]:
        """The newest alerts to look at, oldest of them first."""
        return self._firsts(f"{_FIRSTS} ORDER BY n DESC LIMIT ?", limit)[::-1]

    def to_look_at(self) -> int:
        """How many kept alerts there are to look at."""
        query = "SELECT count(*) AS rows FROM alerts WHERE repeats = 0 AND muted IS NULL"
        return int(self._rows(query)[0]["rows"])

    def repeats_of(self, burst: str) -> int:
        """How many kept alerts repeat the one with this id."""
        query = "SELECT count(*) AS rows FROM alerts WHERE burst = ? AND repeats = 1"
        return int(self._rows(query, plain(burst))[0]["rows"])

    def mutes(self) -> list[Mute]:
        """All mutes that there ever were, oldest first."""
        with store_errors():
            return mutes.every(self._db)

    def muted(self) -> dict[str, int]:
        """By mute, how many of the kept alerts it holds back."""
        rows = self._rows("SELECT muted, count(*) AS rows FROM alerts WHERE muted IS NOT NULL GROUP BY muted")
        return {row["muted"]: row["rows"] for row in rows}

    def alert(self, name: str) -> list[Line]:
        """The alerts whose event id or key is `name`."""
        return self._lines(
            "SELECT n, line FROM alerts WHERE event_id = ?1 OR key = ?1 ORDER BY n", plain(name)
        )

    def rejected(self, after: int = 0, limit: int = 1000) -> list[Line]:
        """The rejected entries beyond place `after`, oldest first, at most `limit`."""
        return self._lines("SELECT n, line FROM rejected WHERE n > ? ORDER BY n LIMIT ?", after, limit)

    def last_rejected(self, limit: int) -> list[Line]:
        """The newest rejected entries, oldest of them first."""
        rows = self._rows("SELECT n, line FROM rejected ORDER BY n DESC LIMIT ?", limit)
        return [Line(row["n"], row["line"]) for row in reversed(rows)]

    def rejected_reasons(self) -> dict[str, int]:
        """For each reason, how many of the entries that are kept."""
        rows = self._rows("SELECT reason, count(*) AS rows FROM rejected GROUP BY reason ORDER BY reason")
        return {row["reason"]: row["rows"] for row in rows}

    def pool_event(self, name: str) -> list[pool.PoolRow]:
        """The records of the pool whose event id or key is `name`."""
        with store_errors():
            return pool.find(self._db, name)

    def queue_rows(self, limit: int = 10_000) -> list[pool.PoolRow]:
        """The newest records of the pool that have no verdict, newest first."""
        with store_errors():
            return pool.unlabeled(self._db, limit)

    def asked(self) -> Counter[tuple[str, str]]:
        """How many records of each kind in the pool have which verdict."""
        with store_errors():
            return pool.asked(self._db)

    def answered(self, since: int) -> int:
        """How many events were given a verdict since a time, in microseconds since 1970."""
        query = "SELECT count(DISTINCT event_id) AS events FROM labels WHERE counts_from >= ?"
        return int(self._rows(query, since)[0]["events"])

    def resolve(self, name: str) -> list[str]:
        """The events that an id or a key can mean: more than one where the key is not unique."""
        name = plain(name) or ""
        found = self._rows(
            "SELECT event_id FROM alerts WHERE event_id = ?1 UNION SELECT event_id FROM pool"
            " WHERE event_id = ?1 UNION SELECT event_id FROM labels WHERE event_id = ?1",
            name,
        )
        if found:
            return [name]
        with store_errors():
            return labels.events_of_key(self._db, name)

    def record_of(self, event_id: str) -> dict[str, Any] | None:
        """The record of an event of the pool, of an alert or of a label, None where nobody kept it."""
        with store_errors():
            record, _number = labels.known_record(self._db, plain(event_id) or "")
        return None if record is None else json.loads(record)

    def labels_of(self, event_id: str) -> list[dict[str, Any]]:
        """Every label of an event as it would be given, in order of arrival."""
        rows = self._rows(
            "SELECT event_id, verdict AS label, analyst, labeled_at, note FROM labels WHERE event_id = ?"
            " ORDER BY id",
            plain(event_id),
        )
        return [{**dict(row), "labeled_at": format_time(row["labeled_at"])} for row in rows]

    def verdict(self, event_id: str) -> labels.Verdict | None:
        """The verdict of an event that counts, None without labels."""
        with store_errors():
            return labels.effective(self._db, plain(event_id) or "")

    def log_after(self, n: int = 0) -> list[labels.LogEntry]:
        """The label changes that the engine applied beyond place `n`, in order."""
        with store_errors():
            return labels.log_after(self._db, n)

    def versions(self) -> list[Version]:
        """Every version, oldest first."""
        with store_errors():
            return versions.every(self._db)

    def active_version(self) -> Version | None:
        """The version that scores, None before the first."""
        return next((version for version in self.versions() if version.status == "active"), None)

    def heartbeat(self) -> Heartbeat | None:
        """What the engine said last, None if it never ran."""
        for row in self._rows("SELECT pid, state, updated_at, counters FROM heartbeat"):
            return Heartbeat(row["pid"], row["state"], row["updated_at"], json.loads(row["counters"]))
        return None

    def counts(self) -> Counts:
        """How much the store holds."""
        row = self._rows(_COUNTS)[0]
        return Counts(**dict(row))

    def outbox_after(self, n: int, limit: int = 500) -> list[tuple[int, bytes | None]]:
        """Alert lines (with their newline) beyond place `n`, oldest first, each with its place; None: it is muted."""
        query = "SELECT n, CASE WHEN muted IS NULL THEN line END AS line FROM alerts WHERE n > ? ORDER BY n LIMIT ?"
        return [
            (row["n"], None if row["line"] is None else row["line"].encode() + b"\n")
            for row in self._rows(query, n, limit)
        ]

    def outbox_mark(self, outlet: str) -> tuple[int, dict[str, Any] | None]:
        """The place up to which an outlet has the alerts, and what the outlet wants to be resumed with."""
        for row in self._rows("SELECT n, mark FROM outbox WHERE outlet = ?", outlet):
            return row["n"], json.loads(row["mark"])
        return 0, None

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with store_errors():
            return self._db.execute(query, values).fetchall()

    def _firsts(self, query: str, *values: object) -> list[Line]:
        return [
            Line(row["n"], row["line"], self.repeats_of(row["burst"])) for row in self._rows(query, *values)
        ]

    def _lines(self, query: str, *values: object) -> list[Line]:
        return [Line(row["n"], row["line"]) for row in self._rows(query, *values)]


_FIRSTS = "SELECT n, line, burst FROM alerts WHERE repeats = 0 AND muted IS NULL"

_COUNTS = """
WITH latest AS (
    SELECT verdict FROM labels AS one WHERE id = (
        SELECT id FROM labels WHERE event_id = one.event_id ORDER BY counts_from DESC, id DESC LIMIT 1
    )
)
SELECT
    coalesce((SELECT records FROM progress), 0) AS records,
    (SELECT count(*) FROM alerts) AS alerts,
    (SELECT count(*) FROM rejected) AS rejected,
    (SELECT count(*) FROM latest WHERE verdict = 'anomaly') AS anomalies,
    (SELECT count(*) FROM latest WHERE verdict = 'normal') AS normals,
    (SELECT count(*) FROM labels WHERE ready IS NULL) AS waiting,
    (SELECT count(*) FROM pool) AS pool
"""
