"""Kernels for event times: ISO, epochs, and strptime patterns of numbers in full width."""

# ruff: noqa: FBT001 - a kernel's arguments are told apart by place, as in the machine code

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamad.records.batch import MISSING_TIME
from streamad.records.compiled import njit
from streamad.records.values import FIRST_TIME, LAST_TIME

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_TIME, ISO, EPOCH, PATTERN = range(4)
"""The time formats that the kernels read."""

OFFSET, FRACTION, YEAR, MONTH, DAY, HOUR, MINUTE, SECOND = range(256, 264)
"""The items of a pattern; below them are bytes that stand for themselves."""

WHOLE_POWERS = 10 ** np.arange(19, dtype=np.int64)
MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


class TimePlan(NamedTuple):
    """How the event time reads."""

    format: int
    digits: int
    """Decimal places between the unit of an epoch time and the microsecond."""
    pattern: NDArray[np.int64]
    """The items of a strptime pattern."""
    scratch: NDArray[np.int64]
    """[8] what was read for each item, from `OFFSET` on."""
    window: NDArray[np.int64]
    """[3] Local times from the first until before the second, in microseconds, are the third's seconds east."""


@njit
def digits_at(data: NDArray[np.uint8], p: int, count: int) -> int:
    """The number that `count` digits spell, or below 0."""
    value = 0
    for i in range(p, p + count):
        if not 48 <= data[i] <= 57:
            return -1_000_000
        value = value * 10 + (data[i] - 48)
    return value


@njit
def days_since_1970(year: int, month: int, day: int) -> int:
    """Days of the proleptic Gregorian calendar; the year begins in March here, so that a leap day ends it."""
    shifted = year - 1 if month <= 2 else year
    era_day = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + era_day - 719_468


@njit
def date(year: int, month: int, day: int) -> tuple[int, bool]:
    """(days since 1970, whether there is such a day)."""
    if year < 1 or not 1 <= month <= 12:
        return 0, False
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= MONTH_DAYS[month - 1] + (1 if leap else 0):
        return 0, False
    return days_since_1970(year, month, day), True


@njit
def zone_seconds(data: NDArray[np.uint8], p: int, stop: int) -> tuple[int, bool]:
    """(seconds east of UTC, understood) of ``Z``, ``+HH:MM`` or ``+HHMM``."""
    length = stop - p
    if length == 1:
        return 0, data[p] | 32 == 122
    if length not in (5, 6) or data[p] not in (43, 45) or (length == 6 and data[p + 3] != 58):
        return 0, False
    hours, minutes = digits_at(data, p + 1, 2), digits_at(data, stop - 2, 2)
    seconds = hours * 3600 + minutes * 60
    return (-seconds if data[p] == 45 else seconds), 0 <= hours <= 23 and 0 <= minutes <= 59


@njit
def in_utc(
    local: int, good: bool, data: NDArray[np.uint8], p: int, stop: int, window: NDArray[np.int64]
) -> int:
    """A local time in UTC, by the zone at ``data[p:stop]`` or, without one, by the `window`.

    `MISSING_TIME` where it is not understood.
    """
    if p == stop:
        east, zoned = window[2], window[0] <= local < window[1]
    else:
        east, zoned = zone_seconds(data, p, stop)
    whole = local - east * 1_000_000
    return whole if good and zoned and FIRST_TIME <= whole <= LAST_TIME else MISSING_TIME


@njit
def clock(days: int, hour: int, minute: int, second: int, micro: int) -> tuple[int, bool]:
    """(microseconds, whether such a time of day exists); a leap second is left to the general decoder."""
    good = 0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59
    return (days * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000 + micro, good


@njit
def fraction_at(data: NDArray[np.uint8], p: int, stop: int) -> tuple[int, int]:
    """(microseconds, first byte behind) of the digits after the point; those after the sixth do not count."""
    fraction, scale = 0, 100_000
    while p < stop and 48 <= data[p] <= 57:
        fraction += (data[p] - 48) * scale
        scale //= 10
        p += 1
    return fraction, p


@njit
def iso_time(data: NDArray[np.uint8], start: int, stop: int, window: NDArray[np.int64]) -> int:
    """Microseconds since 1970, or `MISSING_TIME` where it is not understood."""
    if stop - start < 19 or data[start + 13] != 58 or data[start + 16] != 58:
        return MISSING_TIME
    if data[start + 10] | 32 != 116 and data[start + 10] != 32:
        return MISSING_TIME
    if data[start + 4] != 45 or data[start + 7] != 45:
        return MISSING_TIME
    days, dated = date(
        digits_at(data, start, 4), digits_at(data, start + 5, 2), digits_at(data, start + 8, 2)
    )
    hour, minute = digits_at(data, start + 11, 2), digits_at(data, start + 14, 2)
    p, fraction = start + 19, 0
    if p + 1 < stop and data[p] == 46 and 48 <= data[p + 1] <= 57:
        fraction, p = fraction_at(data, p + 1, stop)
    local, good = clock(days, hour, minute, digits_at(data, start + 17, 2), fraction)
    return in_utc(local, good and dated, data, p, stop, window)


@njit
def pattern_time(data: NDArray[np.uint8], start: int, stop: int, how: TimePlan) -> int:
    """Microseconds since 1970 of a strptime pattern's text in full width, or `MISSING_TIME`."""
    read, p = how.scratch, start
    read[:] = 0
    for item in how.pattern:
        width = 4 if item == YEAR else 2 if item >= MONTH else 1
        if p + width > stop:
            return MISSING_TIME
        if item >= YEAR:
            read[item - OFFSET] = digits_at(data, p, width)
        elif item == FRACTION:
            read[FRACTION - OFFSET], after = fraction_at(data, p, stop)
            width = after - p
            if not 1 <= width <= 6:
                return MISSING_TIME
        elif item == OFFSET and data[p] != 122:  # here only a capital Z is a zone
            break
        elif data[p] != item:
            return MISSING_TIME
        p += width
    if p < stop and how.pattern[-1] != OFFSET:
        return MISSING_TIME
    days, dated = date(read[YEAR - OFFSET], read[MONTH - OFFSET], read[DAY - OFFSET])
    local, good = clock(
        days, read[HOUR - OFFSET], read[MINUTE - OFFSET], read[SECOND - OFFSET], read[FRACTION - OFFSET]
    )
    return in_utc(local, good and dated, data, p, stop, how.window)


@njit
def epoch_time(data: NDArray[np.uint8], start: int, stop: int, scale: int) -> int:
    """Microseconds since 1970 of a number in units of 10**scale of them, or `MISSING_TIME`."""
    p = start + 1 if data[start] in (45, 43) else start
    whole, begin = 0, p
    while p < stop and 48 <= data[p] <= 57:
        whole = whole * 10 + (data[p] - 48)
        p += 1
    digits, fraction = p - begin, 0
    if p + 1 < stop and data[p] == 46:
        p += 1
        begin = p
        while p < stop and 48 <= data[p] <= 57:
            whole = whole * 10 + (data[p] - 48)
            p += 1
        fraction = p - begin
    if p != stop or digits == 0 or fraction > scale or digits + scale > 18:
        return MISSING_TIME
    whole *= WHOLE_POWERS[scale - fraction]
    whole = -whole if data[start] == 45 else whole
    return whole if FIRST_TIME <= whole <= LAST_TIME else MISSING_TIME


@njit
def time(data: NDArray[np.uint8], start: int, stop: int, how: TimePlan) -> int:
    """Microseconds since 1970, or `MISSING_TIME` where it is not understood."""
    if how.format == ISO:
        return iso_time(data, start, stop, how.window)
    if how.format == EPOCH:
        return epoch_time(data, start, stop, how.digits)
    if how.format == PATTERN:
        return pattern_time(data, start, stop, how)
    return MISSING_TIME
