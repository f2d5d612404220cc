"""Bursts: alerts that are alike and follow each other closely. The first is one to look at, the others repeat it.

An alert repeats the burst of its kind unless more than `Rule.within` lies between it and the last of that burst.
A burst that goes on and on ends all the same after `_LONGEST` times that long: somebody is to look again, and who can
send alike records all day must not hide one behind them for longer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from streamad.records.schema import Schema
from streamad.scoring.options import BurstOptions
from streamad.state.options import seconds
from streamad.state.schema import dump
from streamad.state.times import SECOND, parse_time

_MOST = 1000
"""Bursts that are remembered: beyond them the one that rests longest is forgotten, so that its next alert is one to
look at. A sender of ever new values gains nothing but that."""

_LONGEST = 24

_TIME, _RECORDS = "10m", "10000 records"

Alert = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """When an alert repeats another."""

    by: tuple[str, ...]
    """The fields in which both are alike."""
    within: int
    """In microseconds, or in records."""
    counted: Literal["event_time", "scored_at", "records"]
    """What tells how far apart two alerts are."""


def rule_of(options: BurstOptions | Literal[False], schema: Schema, *, replay: bool) -> Rule | None:
    """The rule in force; None where every alert is one to look at."""
    if not options:
        return None
    by = schema.categories if options.by is None else options.by
    if options.by is None and not by:
        return None
    default = _RECORDS if replay and schema.time is None else _TIME
    within = options.within or default
    if within.endswith("records"):
        return Rule(by, int(within.split()[0]), "records")
    return Rule(by, seconds(within) * SECOND, "event_time" if replay else "scored_at")


class Burst(NamedTuple):
    """Alerts of one kind, so far."""

    first: str
    """The first one's id."""
    began: int
    last: int
    """The places of the first and of the last, as the rule counts."""

    def holds(self, place: int, within: int) -> bool:
        """Whether an alert at this place belongs to it. Event times can go back."""
        return self.began - within <= place <= min(self.last, self.began + _LONGEST * within) + within


class Bursts:
    """The bursts under one rule, of alerts in the order in which they came."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._open: dict[str, Burst] = {}  # the one that rests longest first
        self._latest = 0

    def mark(self, alerts: Sequence[Alert], numbers: Iterable[int]) -> None:
        """Set ``repeat_of`` of the alerts that repeat an earlier one; `numbers` are their records'."""
        for alert, number in zip(alerts, numbers, strict=True):
            self._latest = place = self._place(alert, number)
            kind = _kind(alert, self.rule.by)
            burst = self._open.pop(kind, None)
            if burst is not None and burst.holds(place, self.rule.within):
                alert["repeat_of"] = burst.first
                self._open[kind] = burst._replace(last=max(burst.last, place))
            else:
                self._open[kind] = Burst(alert["alert_id"], place, place)
                if len(self._open) > _MOST:
                    del self._open[next(iter(self._open))]

    def copy(self) -> Bursts:
        """An independent copy."""
        bursts = Bursts(self.rule)
        bursts._open, bursts._latest = self._open.copy(), self._latest
        return bursts

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {"rule": asdict(self.rule), "latest": self._latest, "open": list(self._open.items())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`, unless it is another rule's."""
        if dump(state["rule"]) == dump(asdict(self.rule)):
            self._latest = state["latest"]
            self._open = {kind: Burst(*burst) for kind, burst in state["open"]}

    def _place(self, alert: Mapping[str, Any], number: int) -> int:
        """Where it lies; one without an event time where the one before it does."""
        if self.rule.counted == "records":
            return number
        time = alert[self.rule.counted]
        return self._latest if time is None else parse_time(time)


def _kind(alert: Mapping[str, Any], by: tuple[str, ...]) -> str:
    """What alike alerts share, in little room however long their values are. Muted ones are apart from the others."""
    record = alert["record"]
    shared = dump([alert.get("muted"), *(record.get(name) for name in by)])
    return hashlib.blake2b(shared.encode(), digest_size=12).hexdigest()
