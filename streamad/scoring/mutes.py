"""The mutes that are in force, read and ready to be asked about alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from streamad.errors import UserError
from streamad.features.condition_tree import Condition
from streamad.features.conditions import read_condition
from streamad.ports import Mute
from streamad.records.schema import Schema

MOST = 100
"""Mutes in force at a time: each is asked about every alert."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Ready:
    mute: Mute
    condition: Condition


class Mutes:
    """What people do not want to be told of, as of the last news of it."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._known: dict[str, _Ready | None] = {}  # by id; None: it cannot be read

    def take(self, mutes: Iterable[Mute]) -> None:
        """These are in force, and no others. One that this schema does not allow is told of once, and mutes nothing."""
        known, self._known = self._known, {}
        wanted = list(mutes)
        if len(wanted) > MOST:
            _log.warning(
                "mutes_without_effect", count=len(wanted) - MOST, reason=f"more than {MOST} at a time"
            )
        for mute in wanted[-MOST:]:
            ready = known.get(mute.id)
            same = mute.id in known and (ready is None or ready.mute == mute)
            self._known[mute.id] = ready if same else self._read(mute)

    def mark(self, alerts: Iterable[dict[str, Any]]) -> None:
        """Name in each muted alert, as ``muted``, the first mute that it meets."""
        ready = [one for one in self._known.values() if one is not None]
        for alert in alerts if ready else ():
            if (muted := _first(ready, alert)) is not None:
                alert["muted"] = muted

    def _read(self, mute: Mute) -> _Ready | None:
        try:
            return _Ready(mute, read_condition(mute.condition, self._schema))
        except UserError as error:
            _log.warning("mute_without_effect", id=mute.id, reason=str(error))
            return None


def _first(ready: Iterable[_Ready], alert: Mapping[str, Any]) -> str | None:
    for one in ready:
        if one.mute.holds_at(alert["scored_at"]) and one.condition.holds(alert["record"]):
            return one.mute.id
    return None
