"""``streamad show``: one event, alert or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.lately import lately
from streamad.commands.stored import Clustered, opened
from streamad.errors import UserError
from streamad.learning.given import said

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from streamad.state.queries import Reader

_VALUE_CHARS = 500
_LABEL = ("event_id", "label", "analyst", "labeled_at", "note")


def show(args: argparse.Namespace) -> None:
    """Its scores, the reasons, its labels and its record."""
    feed = opened(args)
    if isinstance(feed, Clustered):
        event = _event_of(feed, args.event)
    else:
        with feed.reader() as reader:
            event = _event(reader, _only(reader.resolve(args.event), args.event, "kept here"))
    if screen.piped():
        screen.ndjson(event)
        return
    screen.table(_facts(event))
    if event["reasons"]:
        screen.show("why")
        screen.table(map(_reason, event["reasons"]))
    if event["record"] is not None:
        screen.show("record")
        screen.table((f"  {name}", _text(value)) for name, value in event["record"].items())


def _only(found: Sequence[str], name: str, where: str) -> str:
    """The one event that an id or a key means. Raises `UserError` where there is none, or more."""
    if not found:
        raise UserError(f"no event {where} has the id or key '{screen.safe(name)}'")
    if len(found) > 1:
        several = ", ".join(map(screen.safe, found))
        raise UserError(f"the key '{screen.safe(name)}' names several events: {several}")
    return found[0]


def _event(reader: Reader, event_id: str) -> dict[str, Any]:
    """All that is known about an event, what is not known being None."""
    alert, pooled, beat = _alert(reader, event_id), _pooled(reader, event_id), reader.heartbeat()
    # What is no alert was over the threshold of its time, of which only today's is known.
    threshold = beat.counters.get("threshold") if beat else None
    return {
        **_described(event_id, alert, pooled, threshold),
        "verdict": reader.verdict(event_id),
        "labels": reader.labels_of(event_id),
        "record": reader.record_of(event_id),
    }


def _event_of(feed: Clustered, name: str) -> dict[str, Any]:
    """As `_event`, in a cluster."""
    with feed.desk("labels") as desk:
        known = lately(desk)
        event_id = _only(known.resolve(name), name, f"among {known.looked}")
        labels = said(feed.config.feed, desk.newest("labels", 0))
        given = [(verdict, label) for event, verdict, label in labels if event == event_id]
    alert, candidate = known.alerts.get(event_id, {}), known.candidates.get(event_id, {})
    seen = candidate | {"anomaly_probability": candidate.get("probability")}
    return {
        **_described(event_id, alert, seen, None),
        "verdict": given[-1][0] if given else None,
        "labels": [{name: label.get(name) for name in _LABEL} for _, label in given],
        "record": (alert or candidate)["record"],
    }


def _described(
    event_id: str, alert: Mapping[str, Any], pooled: Mapping[str, Any], threshold: float | None
) -> dict[str, Any]:
    """What was said of an event when it was scored; verdict, labels and record have their places."""
    known = {**pooled, **alert}
    return {
        "event_id": event_id,
        "key": known.get("key"),
        "alert": bool(alert),
        "verdict": None,
        "labels": [],
        "score": known.get("score"),
        "p_value": known.get("p_value"),
        "threshold": known.get("threshold", threshold),
        "anomaly_probability": known.get("anomaly_probability"),
        "detector": known.get("detector"),
        "version": known.get("version"),
        "labels_applied": known.get("labels_applied"),
        "event_time": known.get("event_time"),
        "scored_at": known.get("scored_at"),
        "reasons": known.get("reasons", []),
        "record": None,
    }


def _alert(reader: Reader, event_id: str) -> dict[str, Any]:
    # A sender chooses keys: one that is spelled like another event's id must not stand in for it.
    alerts: list[dict[str, Any]] = [json.loads(line.text) for line in reader.alert(event_id)]
    return next((alert for alert in alerts if alert["event_id"] == event_id), {})


def _pooled(reader: Reader, event_id: str) -> dict[str, Any]:
    for row in reader.pool_event(event_id):
        if row.event_id == event_id:
            return {
                "key": row.key,
                "score": row.score,
                "p_value": row.p_value,
                "anomaly_probability": row.probability,
                "reasons": row.reasons,
            }
    return {}


def _facts(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "event", event["event_id"]
    if event["key"] is not None:
        yield "key", event["key"]
    yield "verdict", event["verdict"] or "none yet"
    yield "p-value", _p_value(event)
    yield "score", screen.number(event["score"])
    yield "anomaly?", screen.percent(event["anomaly_probability"])
    if event["version"] is not None:
        labels = event["labels_applied"]
        yield "model", f"version {event['version']} ({event['detector']}, {labels:,} labels applied)"
    if event["event_time"]:
        yield "happened", event["event_time"]
    if event["scored_at"]:
        yield "scored", event["scored_at"]
    for label in event["labels"]:
        by = f" by {label['analyst']}" if label["analyst"] else ""
        note = f": {label['note']}" if label["note"] else ""
        yield "label", f"{label['label']}{by}, {label['labeled_at']}{note}"


def _reason(reason: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """One line: the share of the score, the field, its value, and what would be usual."""
    along = ", ".join(reason.get("with", []))
    told = "; ".join(filter(None, (screen.usually(reason), along and f"out of place with it: {along}")))
    return f"  {screen.percent(reason['share']):>5}", reason["field"], screen.amount(reason["value"]), told


def _p_value(event: Mapping[str, Any]) -> str:
    if event["p_value"] is None:
        return "-"
    side = "under the threshold" if event["alert"] else "no alert; the threshold is"
    return f"{screen.number(event['p_value'])}, {side} {screen.number(event['threshold'])}"


def _text(value: object) -> str:
    return screen.brief("null" if value is None else value, _VALUE_CHARS)
