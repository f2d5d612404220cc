"""Alerts as people look at them: a burst at a time, and without those that somebody muted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from streamad.config import Config
from streamad.scoring.bursts import Bursts, rule_of

_REMEMBERED = 10_000
"""Bursts whose first alert is kept at hand while alerts are followed."""

Alert = dict[str, Any]


def bursts_of(alerts: Iterable[Mapping[str, Any]], config: Config) -> dict[str, str]:
    """Of each of a cluster's alerts that is not muted, by its event, the id of the first one of its burst."""
    folds = clustered_folds(config)
    return {alert["event_id"]: fold.first["alert_id"] for alert in alerts for fold, _ in folds.take([alert])}


@dataclass(slots=True)
class Fold:
    """One burst, as far as it was looked at."""

    first: Alert
    repeats: int
    new: bool = True
    """Whether nobody was shown it yet."""


def clustered_folds(config: Config) -> Folds:
    """For a cluster's alerts, whose records have no number that they share."""
    rule = rule_of(config.alerts.burst, config.schema_, replay=False)
    return Folds(None if rule is None or rule.counted == "records" else Bursts(rule))


class Folds:
    """Bursts out of alerts in their order.

    On one machine alerts say themselves what they repeat. In a cluster each scorer knows only what it scored since it
    started, so that a burst over several partitions has a first alert at each: there `bursts` marks them anew.
    """

    def __init__(self, bursts: Bursts | None = None) -> None:
        self._bursts = bursts
        self._known: dict[str, Fold] = {}  # by the first alert's id, the one that rests longest first

    def add(self, alert: Alert, repeats: int) -> None:
        """Somebody was shown this first alert with its repeats."""
        self._remember(alert["alert_id"], Fold(alert, repeats, new=False))

    def take(self, alerts: Iterable[Mapping[str, Any]]) -> list[tuple[Fold, int]]:
        """The bursts that these alerts begin or go on with, in order, each with how many repeats are new.

        Where the first of a burst was never met, the first that is met stands for it.
        """
        touched: dict[str, list[Any]] = {}
        for alert in alerts:
            if alert.get("muted") is None:
                name, fold, more = self._place(dict(alert))
                touched.setdefault(name, [fold, 0])[1] += more
        return [(fold, more) for fold, more in touched.values()]

    def _place(self, alert: Alert) -> tuple[str, Fold, int]:
        """The burst of an alert, and whether the alert repeats one in it."""
        if self._bursts is not None:
            alert["repeat_of"] = None
            self._bursts.mark([alert], [0])
        name = alert["repeat_of"] or alert["alert_id"]
        fold, more = self._known.get(name), 1
        if fold is None:
            fold, more = Fold(alert, 0), 0
        fold.repeats += more
        self._remember(name, fold)
        return name, fold, more

    def _remember(self, name: str, fold: Fold) -> None:
        self._known.pop(name, None)
        self._known[name] = fold
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
