"""Labels: what analysts said, which verdict counts, and the order in which the models learned it.

A label becomes *ready* when it can be applied: in a state made by ``run`` as soon as its record is known,
in one made by ``replay`` when the replay has met the record, since there a label takes effect a fixed number
of records after it. Until then it waits. Of several labels of one event the latest counts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from streamad.errors import UserError
from streamad.state.schema import dump, plain
from streamad.state.times import parse_time

Verdict = Literal["anomaly", "normal", "withdrawn"]
VERDICTS: tuple[Verdict, ...] = ("anomaly", "normal", "withdrawn")

Outcome = Literal["added", "known", "waiting", "ambiguous", "unknown", "invalid"]
"""What became of a label: taken, already there, taken but waiting for its record, or refused because its
key names several events, no event, or because it is no label."""


class LabelOutcome(NamedTuple):
    """What became of one given label."""

    outcome: Outcome
    event_id: str
    detail: str = ""
    """Why it was refused, in words."""


@dataclass(frozen=True, slots=True)
class LabelChange:
    """An event's verdict that counts from now on; its record is known."""

    label_id: int
    event_id: str
    verdict: Verdict
    record: dict[str, Any]
    number: int | None
    """The record's number in the feed, where it is known."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One label change as it was applied."""

    n: int
    """Its place in the order of application, from 1."""
    label_id: int
    event_id: str
    verdict: Verdict
    record_number: int
    """The record before which it took effect."""
    record: str
    """As JSON."""


@dataclass(frozen=True, slots=True)
class Givers:
    """What the rules about labels depend on beside the store."""

    feed: str
    made_by: str
    now: int


def add_label(db: sqlite3.Connection, label: Mapping[str, Any], givers: Givers) -> LabelOutcome:
    """Store one label inside the caller's transaction.

    Its keys: ``event_id`` (or ``key``), ``label``, ``analyst``, ``labeled_at``, ``note``, ``record``.
    """
    try:
        verdict, analyst, given = check_label(label)
    except UserError as error:
        return LabelOutcome("invalid", str(label.get("event_id", "")), str(error))
    event_id, refusal = _event(db, label, givers.feed)
    if refusal is not None:
        return refusal
    if given is None:
        if _latest_by(db, event_id, analyst) == verdict:
            return LabelOutcome("known", event_id)
        given = givers.now
    same = "SELECT 1 FROM labels WHERE event_id = ? AND verdict = ? AND analyst = ? AND labeled_at = ?"
    if db.execute(same, (event_id, verdict, analyst, given)).fetchone():
        return LabelOutcome("known", event_id)
    db.execute(
        "INSERT INTO labels (event_id, verdict, analyst, labeled_at, counts_from, note)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (event_id, verdict, analyst, given, min(given, givers.now), plain(str(label.get("note") or ""))),
    )
    record, number = known_record(db, event_id)
    own = label.get("record")
    text = dump(own) if isinstance(own, dict) else record
    ready = attach(db, event_id, text, number, givers.made_by)
    mark_pool(db, event_id)
    return LabelOutcome("added" if ready else "waiting", event_id)


def check_label(label: Mapping[str, Any]) -> tuple[Verdict, str, int | None]:
    """Verdict, analyst and labeled_at (µs, None where the label carries none). Raises `UserError` for no label."""
    if not isinstance(_name(label), str):
        raise UserError("a label needs event_id or key")
    verdict = label.get("label")
    if verdict not in VERDICTS:
        raise UserError(f"label is {verdict!r}, expected anomaly, normal or withdrawn")
    record = label.get("record")
    if record is not None and not isinstance(record, dict):
        raise UserError("record is no object")
    given = label.get("labeled_at")
    if given is None:
        return verdict, _analyst(label), None
    try:
        return verdict, _analyst(label), parse_time(given)
    except (TypeError, ValueError):
        raise UserError(f"labeled_at is {given!r}, expected a time such as 2026-01-01T00:00:00Z") from None


def _analyst(label: Mapping[str, Any]) -> str:
    return plain(str(label.get("analyst") or "")) or ""


def _name(label: Mapping[str, Any]) -> Any:  # noqa: ANN401  # whatever the label says
    return label.get("event_id") or label.get("key")


def _event(db: sqlite3.Connection, label: Mapping[str, Any], feed: str) -> tuple[str, LabelOutcome | None]:
    """The event that a label names by its id or by its key."""
    name = plain(_name(label)) or ""
    if name.startswith(f"{feed}/"):
        return name, None
    found = events_of_key(db, name)
    if len(found) == 1:
        return found[0], None
    if not found:
        return "", LabelOutcome("unknown", name, f"no event has the id or key {name!r}")
    return "", LabelOutcome("ambiguous", name, f"the key {name!r} names several events: {', '.join(found)}")


def events_of_key(db: sqlite3.Connection, key: str, limit: int = 20) -> list[str]:
    """The events whose key field holds `key`, among alerts and pool."""
    rows = db.execute(
        "SELECT event_id FROM alerts WHERE key = ?1 UNION SELECT event_id FROM pool WHERE key = ?1"
        " ORDER BY event_id LIMIT ?2",
        (key, limit),
    )
    return [row[0] for row in rows]


def _latest_by(db: sqlite3.Connection, event_id: str, analyst: str) -> str | None:
    row = db.execute(
        "SELECT verdict FROM labels WHERE event_id = ? AND analyst = ?"
        " ORDER BY counts_from DESC, id DESC LIMIT 1",
        (event_id, analyst),
    ).fetchone()
    return row[0] if row else None


def known_record(db: sqlite3.Connection, event_id: str) -> tuple[str | None, int | None]:
    """The record of an event (JSON) and its number, from the pool, the alerts or an older label."""
    row = db.execute("SELECT record, record_number FROM pool WHERE event_id = ?", (event_id,)).fetchone()
    if row:
        return row[0], row[1]
    row = db.execute("SELECT line, record_number FROM alerts WHERE event_id = ?", (event_id,)).fetchone()
    if row:
        return dump(json.loads(row[0])["record"]), row[1]
    row = db.execute(
        "SELECT record, record_number FROM labels WHERE event_id = ? AND record IS NOT NULL LIMIT 1",
        (event_id,),
    ).fetchone()
    return (row[0], row[1]) if row else (None, None)


def attach(
    db: sqlite3.Connection, event_id: str, record: str | None, number: int | None, made_by: str
) -> bool:
    """Give the event's waiting labels what they wait for; returns whether they are ready now.

    `record` (JSON) and `number` fill what the labels do not hold yet; None leaves it open.
    """
    db.execute(
        "UPDATE labels SET record = coalesce(record, ?), record_number = coalesce(record_number, ?)"
        " WHERE event_id = ?",
        (record, number, event_id),
    )
    waiting = db.execute(
        "SELECT id, record, record_number FROM labels WHERE event_id = ? AND ready IS NULL ORDER BY id",
        (event_id,),
    ).fetchall()
    for row in waiting:
        if row["record"] is None or (made_by == "replay" and row["record_number"] is None):
            return False
        # The last place taken is read through the index on `ready`: no cost in the number of labels.
        db.execute(
            "UPDATE labels SET ready = (SELECT coalesce(max(ready), 0) + 1 FROM labels) WHERE id = ?",
            (row["id"],),
        )
    return True


def mark_pool(db: sqlite3.Connection, event_id: str) -> None:
    """Take a labeled event out of the queue, put a withdrawn one back."""
    db.execute("UPDATE pool SET labeled = ? WHERE event_id = ?", (is_labeled(db, event_id), event_id))


def is_labeled(db: sqlite3.Connection, event_id: str) -> bool:
    """Whether an event has a verdict that was not withdrawn."""
    return effective(db, plain(event_id) or "") not in (None, "withdrawn")


def effective(db: sqlite3.Connection, event_id: str) -> Verdict | None:
    """The verdict that counts: the latest `labeled_at`, capped at its arrival; ties by arrival."""
    row = db.execute(
        "SELECT verdict FROM labels WHERE event_id = ? ORDER BY counts_from DESC, id DESC LIMIT 1",
        (event_id,),
    ).fetchone()
    return row[0] if row else None


def changes_after(db: sqlite3.Connection, ready: int) -> tuple[list[LabelChange], int]:
    """The verdicts of events with labels beyond place `ready`, in order, and the last place taken.

    From the beginning (place 0) an event is left out where the models were already taught its verdict; later
    none is, since a new verdict may take back one that was handed out but not applied yet.
    """
    rows = db.execute("SELECT * FROM labels WHERE ready > ? ORDER BY ready", (ready,)).fetchall()
    # An event stands where its last label does.
    latest = {row["event_id"]: row for row in rows}
    changes = [_change(db, row) for row in sorted(latest.values(), key=lambda row: int(row["ready"]))]
    if ready == 0:
        changes = [change for change in changes if change.verdict != taught(db, change.event_id)]
    return changes, rows[-1]["ready"] if rows else ready


def _change(db: sqlite3.Connection, row: sqlite3.Row) -> LabelChange:
    return LabelChange(
        row["id"],
        row["event_id"],
        effective(db, row["event_id"]) or "withdrawn",
        json.loads(row["record"]),
        row["record_number"],
    )


def taught(db: sqlite3.Connection, event_id: str) -> Verdict:
    """The verdict of an event that the models were taught last; ``withdrawn`` where there was none."""
    row = db.execute(
        "SELECT verdict FROM label_log WHERE event_id = ? ORDER BY n DESC LIMIT 1", (event_id,)
    ).fetchone()
    return row[0] if row else "withdrawn"


def waiting_after(db: sqlite3.Connection, label_id: int) -> tuple[list[str], int]:
    """The events of labels beyond `label_id` that wait for their record, and the last label looked at."""
    rows = db.execute(
        "SELECT id, event_id FROM labels WHERE ready IS NULL AND id > ? ORDER BY id", (label_id,)
    ).fetchall()
    return list(dict.fromkeys(row["event_id"] for row in rows)), rows[-1]["id"] if rows else label_id


def append_log(db: sqlite3.Connection, applied: Sequence[Mapping[str, Any]]) -> None:
    """Write down the order in which label changes were applied."""
    db.executemany(
        "INSERT INTO label_log (label_id, event_id, verdict, record_number)"
        " VALUES (:label_id, :event_id, :verdict, :record_number)",
        applied,
    )


def log_after(db: sqlite3.Connection, n: int) -> list[LogEntry]:
    """The applied label changes beyond place `n`, in order."""
    rows = db.execute(
        "SELECT label_log.*, labels.record FROM label_log JOIN labels ON labels.id = label_id"
        " WHERE n > ? ORDER BY n",
        (n,),
    )
    return [
        LogEntry(
            row["n"],
            row["label_id"],
            row["event_id"],
            row["verdict"],
            row["record_number"],
            row["record"],
        )
        for row in rows
    ]
