"""Times as people write them and as streamad counts them: microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

SECOND = 1_000_000
"""Microseconds."""


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time.

    Raises `ValueError` for text that is no time or carries no zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        message = f"the time {text!r} has no zone (a Z at its end means UTC)"
        raise ValueError(message)
    return (moment - _EPOCH) // _MICROSECOND


def format_time(micros: int) -> str:
    """RFC 3339 in UTC with milliseconds, as in ``2026-01-01T00:00:00.000Z``."""
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
