"""Counts of what a disturbed cluster said, how late it was, and a table of both."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from feeds import FEED
from kafka_topics import committed, each_of, end_offsets
from processes import say

KILLED, RESTARTED, FROZEN = "a kill", "the broker's restart", "a freeze"
_BEFORE, _AFTER = 1.0, 20.0
"""An alert counts as one after an incident if its record came so many seconds around it."""
_READING = 300.0


class Incident(NamedTuple):
    """Something that was done to the cluster, and until when."""

    what: str
    began: float
    ended: float


@dataclass
class Outcome:
    """Lines of the table."""

    title: str
    lines: list[tuple[str, Any, bool | None]] = field(default_factory=list)
    """What, how many, and whether a bar is kept; None where there is none."""

    def tell(self, what, value, kept=None):
        self.lines.append((what, value, kept))

    def show(self):
        """Print them; whether all bars are kept."""
        say(f"\n{self.title}\n")
        for what, value, kept in self.lines:
            mark = {None: "", True: "ok", False: "MISSED"}[kept]
            shown = f"{value:,}" if isinstance(value, int) else str(value)
            say(f"  {what:<64}{shown:>24}  {mark}".rstrip())
        return all(kept is not False for _, _, kept in self.lines)


def judge_delivery(outcome, broker, group, outputs, feed, *, whole):
    """Nothing said twice, the spoilt records in rejected, and with `whole` each other one as alert or candidate; returns
    the alerts."""
    keys = {name: Counter() for name in outputs}
    alerts = []
    spoilt = {position: line for position, line in feed.sent.items() if line.startswith(b"poison")}
    changed = 0
    for name, topic in outputs.items():
        for message in each_of(broker, topic, seconds=_READING):
            keys[name][message.key().decode()] += 1
            if name == "alerts":
                alerts.append(json.loads(message.value()))
            elif name == "rejected":
                changed += spoilt.get(message.key().decode()) != message.value()
    scored = keys["alerts"] + keys["candidates"]
    expected = {f"{FEED}/{position}" for position in feed.sent.keys() - spoilt.keys()}
    outcome.tell("records", len(feed.sent))
    outcome.tell("  said as alert or candidate", scored.total())
    outcome.tell("  rejected", keys["rejected"].total())
    _tell_counts(outcome, "records", scored, expected if whole else expected & scored.keys())
    _tell_counts(outcome, "poison messages", keys["rejected"], spoilt.keys())
    outcome.tell("rejected with another content", changed, changed == 0)
    at_end = committed(broker, group, feed.topic) == end_offsets(broker, feed.topic)
    outcome.tell("offsets at the end", "yes" if at_end else "no", at_end)
    return alerts


def _tell_counts(outcome, what, found, expected):
    outcome.tell(f"{what} expected", len(expected))
    outcome.tell("  lost", lost := len(expected - found.keys()), lost == 0)
    outcome.tell("  twice", twice := sum(count > 1 for count in found.values()), twice == 0)
    outcome.tell("  not expected", new := len(found.keys() - expected), new == 0)


def judge_alerts(outcome, said, expected, least):
    """Those of an undisturbed scorer, each once and with its score."""
    ours, theirs = (
        {alert["event_id"]: (alert["score"], alert["p_value"]) for alert in found}
        for found in (said, expected)
    )
    _tell_counts(outcome, "alerts", Counter(alert["event_id"] for alert in said), theirs.keys())
    other = sum(ours[event] != theirs[event] for event in ours.keys() & theirs.keys())
    outcome.tell("  of another score", other, other == 0)
    outcome.tell(f"  at least {least:,}", "yes" if len(theirs) >= least else "no", len(theirs) >= least)


def judge_pairs(outcome, said, heads):
    """A swap took place, labels came, and each alert is what its version and its labels make of its record."""
    versions = Counter(alert["version"] for alert in said)
    labels = {alert["labels_applied"] for alert in said}
    outcome.tell("alerts", len(said))
    outcome.tell("alerts twice", twice := len(said) - len({a["event_id"] for a in said}), twice == 0)
    outcome.tell("versions that gave alerts", ", ".join(map(str, sorted(versions))), len(versions) > 1)
    outcome.tell("places in the labels' order that alerts name", len(labels), len(labels) > 5)
    judge_scores(outcome, said, heads)


def judge_scores(outcome, said, heads):
    """Each alert is what its version and its labels make of its record, read and scored apart from any scorer."""
    wrong = heads.mismatches(said)
    outcome.tell("alerts that version and labels_applied do not explain", len(wrong), not wrong)


def judge_delays(outcome, incidents, feed, seen, bar=None):
    """From a record's append until its alert was visible, by what was going on; the bar, if any, is for kills."""
    delays = delays_of(feed, seen)
    groups = {what: [] for what in (None, KILLED, RESTARTED, FROZEN)}
    for appended, delay in delays:
        groups[_during(appended, incidents)].append(delay)
    for what, group in groups.items():
        if group:
            p50, p99, top = np.percentile(group, (50, 99, 100))
            name = f"record to alert, seconds, {f'around {what}' if what else 'at rest'} ({len(group):,})"
            kept = bool(top <= bar) if bar and what == KILLED else None
            outcome.tell(name, f"p50 {p50:.2f} p99 {p99:.2f} max {top:.2f}", kept)


def delays_of(feed, seen):
    """(when its record was there, seconds until it was visible) of each alert whose record's time is known."""
    events = ((event.removeprefix(f"{FEED}/"), visible) for event, visible in seen.items())
    return [
        (feed.appended[position], visible - feed.appended[position])
        for position, visible in events
        if position in feed.appended
    ]


def longest_around(incident, delays):
    """The longest wait for an alert whose record came around it; 0 where none did."""
    return max((delay for appended, delay in delays if _around(incident, appended)), default=0.0)


def _around(incident, moment):
    return incident.began - _BEFORE <= moment <= incident.ended + _AFTER


def _during(moment, incidents):
    found = {incident.what for incident in incidents if _around(incident, moment)}
    return next((what for what in (FROZEN, RESTARTED, KILLED) if what in found), None)
