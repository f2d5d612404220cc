"""The embedded store: one SQLite file in WAL mode that holds all that one feed must not forget."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog

from streamad.ports import Commit, Mute, Positions
from streamad.state import labels, mutes, pool, retention, versions
from streamad.state.options import KeepOptions
from streamad.state.queries import Reader
from streamad.state.schema import dump, open_writer, plain, store_errors, transaction
from streamad.state.times import format_time, parse_time

log = structlog.get_logger()

Clock = Callable[[], int]
"""The time of day in microseconds since 1970, UTC."""

STEPS = ("begun", "alerts", "rejected", "pool", "labels", "versions", "positions", "committed")
"""The steps of a commit, in order: see `Store.commit`."""


@dataclass(frozen=True, slots=True)
class News:
    """What other commands left for the engine."""

    changes: list[labels.LabelChange]
    """Verdicts to apply, in order."""
    waiting: list[str]
    """Events whose record the engine should attach when it meets them."""
    requests: list[versions.Request]
    """Every request that is not handled yet."""
    mutes: list[Mute]
    """All that are in force."""
    cursor: tuple[int, int]
    """Ask for what is newer than this next time."""


class Store(Reader):
    """The writing side of the store, behind `streamad.ports.Sink`; short transactions only.

    The engine holds one for a run; `label` and `models` open one for a moment beside it. One object a thread.

    Raises `StoreError` where the disk refuses, `StateError` for a file that is no store of this format.
    """

    def __init__(
        self,
        path: Path,
        *,
        feed: str,
        made_by: Literal["run", "replay"],
        clock: Clock,
        pool_rows: int = 100_000,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        self._db = open_writer(path)
        self._feed, self._made_by, self._clock, self._pool_rows = feed, made_by, clock, pool_rows
        self._on_step = on_step or (lambda _step: None)
        self._seen: tuple[int, tuple[int, int]] | None = None
        self._grew = self._said_full = False

    def restore(self) -> tuple[Positions, Mapping[str, Any]] | None:
        """The last committed positions and checkpoint, None before the first commit."""
        if not self._rows("SELECT records FROM progress"):
            return None
        positions = {row[0]: json.loads(row[1]) for row in self._rows("SELECT * FROM positions")}
        saved = self._rows("SELECT name, value FROM checkpoint ORDER BY rowid")
        return positions, {row["name"]: _load(row["value"]) for row in saved}

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or none of it.

        1. begun: the write lock is ours.
        2. alerts.
        3. rejected.
        4. pool: new rows in, surplus rows out.
        5. labels: records that labels waited for, then the log of applied label changes.
        6. versions, and the requests that are fulfilled.
        7. positions, record count and checkpoint.
        8. committed: from here on all of it is durable.

        After each step the test suite's hook is called with its name. Raises `StoreError` where the disk
        refuses; nothing of the commit is kept then. Raises `sqlite3.IntegrityError` for an event that was
        committed before: our bug.
        """
        with transaction(self._db):
            self._on_step("begun")  # 1
            self._insert_alerts(commit)
            self._on_step("alerts")  # 2
            self._insert_rejected(commit)
            self._on_step("rejected")  # 3
            self._fill_pool(commit)
            self._on_step("pool")  # 4
            self._log_labels(commit)
            self._on_step("labels")  # 5
            self._change_versions(commit)
            self._on_step("versions")  # 6
            self._move(commit)
            self._on_step("positions")  # 7
        self._on_step("committed")  # 8

    def news(self, since: tuple[int, int] | None = None) -> News | None:
        """What other commands left since `since` (a `News.cursor`), None where nothing moved.

        Cheap enough for every batch: where nobody wrote, it reads one counter. Without `since`, which is how
        a restart begins, it always answers: with every verdict that no commit has applied yet.
        """
        with store_errors():
            version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
            if self._seen == (version, since) and not self._grew:
                return None
            ready, last = since or (0, 0)
            changes, ready = labels.changes_after(self._db, ready)
            waiting, last = labels.waiting_after(self._db, last)
            requests = versions.requests(self._db)
            muted = mutes.in_force(self._db, format_time(self._clock()))
        cursor = (ready, last)
        self._seen, self._grew = (version, cursor), False
        return News(changes, waiting, requests, muted, cursor)

    def add_labels(self, given: Iterable[Mapping[str, Any]]) -> list[labels.LabelOutcome]:
        """Take labels as analysts write them, in order; one outcome each.

        All of them are stored in one transaction, so callers with many pass some thousands at a time.
        """
        givers = labels.Givers(self._feed, self._made_by, self._clock())
        with transaction(self._db):
            outcomes = [labels.add_label(self._db, label, givers) for label in given]
        self._grew = True
        return outcomes

    def put_version(self, row: Mapping[str, Any]) -> None:
        """Begin or change a version outside of a commit; the row is one of `Commit.versions`."""
        with transaction(self._db):
            versions.put(self._db, row, self._clock())

    def ask(self, command: Literal["promote", "rollback"], number: int | None = None) -> int:
        """Leave a request for the engine; returns its id. Raises `UserError` for what cannot be had."""
        with transaction(self._db):
            return versions.ask(self._db, command, number, self._clock())

    def dismiss(self, request_ids: Sequence[int]) -> None:
        """Take requests away that are fulfilled, or cannot be, outside of a commit."""
        with transaction(self._db):
            versions.dismiss(self._db, request_ids)

    def pin(self, number: int) -> None:
        """Keep a version, and as long as it scores let no training take its place; see `versions.pin`."""
        with transaction(self._db):
            versions.pin(self._db, number)

    def unpin(self, number: int) -> None:
        """Take a pin away; see `versions.unpin`."""
        with transaction(self._db):
            versions.unpin(self._db, number)

    def put_mute(self, mute: Mute) -> None:
        """Add a mute, or change the one with its id; the engine heeds it from its next batch on."""
        with transaction(self._db):
            mutes.put(self._db, mute)
        self._grew = True

    def beat(self, pid: int, state: str, counters: Mapping[str, Any]) -> None:
        """Write the heartbeat that `status` reads."""
        with transaction(self._db):
            self._db.execute(
                "INSERT OR REPLACE INTO heartbeat VALUES (1, ?, ?, ?, ?)",
                (pid, state, self._clock(), dump(counters)),
            )

    def set_outbox_mark(self, outlet: str, n: int, mark: Mapping[str, Any] | None) -> None:
        """Remember that an outlet has the alerts up to place `n`."""
        with transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?)", (outlet, n, dump(mark)))

    def prune(self, keep: KeepOptions, artifacts: Path) -> retention.Pruned:
        """Drop a little of what is older or more than `keep` allows; call it again and again."""
        pruned = retention.prune(self._db, keep, artifacts, self._clock())
        if pruned.over_size and not self._said_full:
            self._said_full = True
            log.warning(
                "store_over_size", max_gb=keep.max_gb, dropped="the oldest alerts and rejected entries"
            )
        return pruned

    def hand_over(self, number: int) -> None:
        """Go on with a version made by ``fit``: positions and counts stay, what was learned goes."""
        with transaction(self._db):
            versions.put(self._db, {"number": number, "status": "active"}, self._clock())
            self._db.execute("DELETE FROM checkpoint WHERE name IN ('learner', 'dictionary')")

    def start_anew(self) -> None:
        """Forget everything but the labels, which wait for their events again (``--fresh``)."""
        with transaction(self._db):
            retention.clear(self._db, self._made_by)
        self._grew = True

    def _insert_alerts(self, commit: Commit) -> None:
        numbers: Sequence[int | None] = commit.alert_numbers or [None] * len(commit.alerts)
        self._db.executemany(
            "INSERT INTO alerts (event_id, key, record_number, p_value, scored_at, line, burst, repeats, muted)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_alert(alert, number) for alert, number in zip(commit.alerts, numbers, strict=True)],
        )

    def _insert_rejected(self, commit: Commit) -> None:
        now = self._clock() if commit.rejected else 0
        self._db.executemany(
            "INSERT INTO rejected (reason, arrived_at, line) VALUES (?, ?, ?)",
            [(entry["reason"], now, dump(entry)) for entry in commit.rejected],
        )

    def _fill_pool(self, commit: Commit) -> None:
        if commit.pool:
            pool.insert(self._db, commit.pool)
            pool.trim(self._db, self._pool_rows)

    def _log_labels(self, commit: Commit) -> None:
        for row in commit.attached:
            event_id = plain(row["event_id"]) or ""
            labels.attach(self._db, event_id, dump(row["record"]), row["record_number"], self._made_by)
            self._grew = True
        labels.append_log(self._db, commit.applied)

    def _change_versions(self, commit: Commit) -> None:
        for row in commit.versions:
            versions.put(self._db, row, self._clock())
        versions.dismiss(self._db, commit.handled)

    def _move(self, commit: Commit) -> None:
        self._db.execute("DELETE FROM positions")
        self._db.executemany(
            "INSERT INTO positions VALUES (?, ?)",
            [(plain(partition), dump(cursor)) for partition, cursor in commit.positions.items()],
        )
        self._db.execute("INSERT OR REPLACE INTO progress VALUES (1, ?)", (commit.records,))
        self._db.executemany(
            "INSERT INTO checkpoint (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [(name, _save(value)) for name, value in commit.checkpoint.items()],
        )


def _alert(alert: Mapping[str, Any], number: int | None) -> tuple[Any, ...]:
    repeated = alert.get("repeat_of")
    return (
        plain(alert["event_id"]),
        plain(alert.get("key")),
        number,
        alert.get("p_value"),
        parse_time(alert["scored_at"]),
        dump(alert),
        plain(repeated or alert.get("alert_id")),
        repeated is not None,
        alert.get("muted"),
    )


def _save(value: Any) -> str | bytes:  # noqa: ANN401  # JSON-able, or bytes
    return value if isinstance(value, bytes) else dump(value)


def _load(value: str | bytes) -> Any:  # noqa: ANN401  # JSON-able, or bytes
    return value if isinstance(value, bytes) else json.loads(value)
