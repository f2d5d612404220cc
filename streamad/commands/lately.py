"""The newest alerts and candidates of a cluster: the events that its people can know of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.shapes import Alert, Candidate, sound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamad.ports import Desk

_LOOKED = 10_000
"""So many of each are looked at."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lately:
    """Events by their id, the oldest first."""

    alerts: dict[str, Row]
    candidates: dict[str, Row]

    def resolve(self, name: str) -> list[str]:
        """The events that an id or a key can mean: more than one where the key is not unique."""
        if name in self.alerts or name in self.candidates:
            return [name]
        return list(dict.fromkeys(row["event_id"] for row in self.rows() if row["key"] == name))

    def rows(self) -> Iterator[Row]:
        """Candidates, then alerts."""
        yield from self.candidates.values()
        yield from self.alerts.values()

    def record(self, event_id: str) -> Row | None:
        """An event's record, None where it is not known whole."""
        row = self.alerts.get(event_id) or self.candidates.get(event_id) or {"truncated": True}
        return None if row.get("truncated") else row["record"]

    @property
    def looked(self) -> str:
        """What was looked through, in words."""
        return f"the newest {len(self.alerts):,} alerts and {len(self.candidates):,} candidates"


def lately(desk: Desk) -> Lately:
    """Read them, and say where. Raises `UserError` and `WorldError`."""
    screen.remark(f"reading {desk.where('alerts')}")
    screen.remark(f"reading {desk.where('candidates')}")
    return Lately(
        {row["event_id"]: row for row in sound(Alert, desk.newest("alerts", _LOOKED))},
        {row["event_id"]: row for row in sound(Candidate, desk.newest("candidates", _LOOKED))},
    )
