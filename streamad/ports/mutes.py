"""What people do not want to be told of for a while."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mute:
    """Alerts whose record meets a condition are kept and counted, and not sent.

    Times are RFC 3339 in UTC with milliseconds, as in ``2026-01-01T00:00:00.000Z``: as texts they sort as they follow
    each other.
    """

    id: str
    condition: str
    """In the language of `streamad.features.conditions`."""
    analyst: str
    why: str
    since: str
    until: str
    ended_at: str | None = None
    """When somebody ended it early."""
    ended_by: str = ""

    def holds_at(self, time: str) -> bool:
        """Whether it is in force."""
        return time < self.until and self.ended_at is None
