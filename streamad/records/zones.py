"""Local days: what the compiled decoder may know of a time zone, and strptime patterns that it can follow."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

import numpy as np

from streamad.records.kernels_time import (
    DAY,
    EPOCH,
    FRACTION,
    HOUR,
    ISO,
    MINUTE,
    MONTH,
    NO_TIME,
    OFFSET,
    PATTERN,
    SECOND,
    YEAR,
    TimePlan,
)
from streamad.records.schema import TimeSpec
from streamad.records.values import EPOCH_DIGITS, FIRST_TIME, LAST_TIME, find_zone

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ITEMS = {"Y": YEAR, "m": MONTH, "d": DAY, "H": HOUR, "M": MINUTE, "S": SECOND, "f": FRACTION, "z": OFFSET}
_MICROSECOND = timedelta(microseconds=1)


class LocalDay:
    """The last local day seen, if the zone's distance from UTC stays the same all through it.

    Times without a zone are read fast within this day; the general decoder reads the others, and the day
    moves on with them.
    """

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = None if zone is UTC else zone
        self._day = ""
        self.window: NDArray[np.int64] = np.zeros(3, np.int64)
        if zone is UTC:
            self.window[:2] = FIRST_TIME, LAST_TIME + 1

    def saw(self, microseconds: int) -> None:
        """Move to the local day of an event time that the general decoder read."""
        if self._zone is None or not FIRST_TIME <= microseconds <= LAST_TIME:
            return
        moment = datetime(1970, 1, 1, tzinfo=UTC) + microseconds * _MICROSECOND
        try:
            midnight = moment.astimezone(self._zone).replace(
                tzinfo=None, hour=0, minute=0, second=0, microsecond=0
            )
            if midnight.isoformat() != self._day:
                self._day = midnight.isoformat()
                self.window[:] = _window(midnight, self._zone)
        except OverflowError:  # the first or the last day of all: left to the general decoder
            self.window[:] = 0


def _window(midnight: datetime, zone: tzinfo) -> tuple[int, int, int]:
    quarters = [midnight + quarter * timedelta(minutes=15) for quarter in range(97)]
    offsets = {moment.replace(tzinfo=zone).utcoffset() for moment in quarters}
    east = offsets.pop()
    if offsets or east is None or east % timedelta(seconds=1):
        return 0, 0, 0
    start = (midnight - datetime(1970, 1, 1)) // _MICROSECOND  # noqa: DTZ001 - local time on purpose
    return start, start + 86_400_000_000, east // timedelta(seconds=1)


def time_plan(spec: TimeSpec | None) -> tuple[TimePlan, LocalDay]:
    """How the kernels read the event time, and the day that goes with it. Raises `UserError` for the zone."""
    day = LocalDay(None if spec is None or spec.zone is None else find_zone(spec.zone))
    style = "" if spec is None else spec.format
    pattern = pattern_items(style)
    form = ISO if style == "iso" else EPOCH if style in EPOCH_DIGITS else PATTERN if pattern else NO_TIME
    digits = EPOCH_DIGITS.get(style, 0)
    return TimePlan(form, digits, np.array(pattern, np.int64), np.zeros(8, np.int64), day.window), day


def pattern_items(pattern: str) -> list[int]:
    """The items of a strptime pattern, empty for one that the kernels do not follow.

    They follow a date with any time of day in numbers, each at most once, the zone last.
    """
    items = []
    for token in re.findall(r"%.|[^%]", pattern, re.DOTALL):
        item = _ITEMS.get(token[1]) if token[0] == "%" else ord(token)
        if item is None or (len(token) == 1 and item >= 128):
            return []
        items.append(item)
    named = [item for item in items if item >= OFFSET]
    dated = {YEAR, MONTH, DAY} <= set(named) and len(set(named)) == len(named)
    return items if dated and OFFSET not in items[:-1] else []
