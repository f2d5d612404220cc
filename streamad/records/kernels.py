"""Kernels for single values: bytes to numbers, times, words and category codes.

Every kernel reads ``data[start:stop]`` and says whether it understood. What it understands it reads exactly as
`streamad.records.values` does; everything else is left to the general decoder, never guessed.
"""

# ruff: noqa: FBT001 - a kernel's arguments are told apart by place, as in the machine code

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamad.records.batch import MISSING_CODE, MISSING_TIME, OTHER_CODE
from streamad.records.compiled import njit
from streamad.records.dictionary import MAX_VALUE_BYTES, Tables
from streamad.records.values import FIRST_TIME, LAST_TIME

if TYPE_CHECKING:
    from numpy.typing import NDArray

SKIP, NUMBER, BOOLEAN, CATEGORY, TIME, TRUTH = range(6)
"""What a kernel does with a field."""

NO_TIME, ISO, EPOCH = range(3)
"""The time formats that the kernels read."""

NAN = float("nan")

Place = np.uint64
"""Where a byte is. Unsigned, since every use of a signed index costs a look at its sign."""

ZERO, ONE, FOUR = Place(0), Place(1), Place(4)

MAX_DIGITS = Place(18)
"""So many decimal digits fit an int64."""

EXACT = 1 << 53
"""Whole numbers up to this are doubles."""

MAX_POWER = 22
"""Powers of ten up to this are exact doubles."""

POWERS = np.array([float(f"1e{power}") for power in range(MAX_POWER + 1)])
SPLITTER = 2.0**27 + 1
WHOLE_POWERS = 10 ** np.arange(19, dtype=np.int64)
MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


class Meaning(NamedTuple):
    """How the time and label columns read."""

    time_format: int
    time_digits: int
    """Decimal places between the unit of an epoch time and the microsecond."""
    utc: bool
    """Times without a zone are UTC."""
    normal: NDArray[np.uint8]
    """The words that mean normal, lower case and without a trailing dot, one behind the other."""
    normal_bounds: NDArray[np.int64]
    """[words + 1]"""


class Out(NamedTuple):
    """The matrices that rows are written to, as in `Batch`."""

    numbers: NDArray[np.float64]
    codes: NDArray[np.int32]
    times: NDArray[np.int64]
    truth: NDArray[np.int8]
    status: NDArray[np.uint8]


@njit
def signed(value: np.unsignedinteger[Any]) -> int:
    """The same number where it may become negative."""
    return np.int64(value)  # type: ignore[return-value]  # what int is in a kernel


@njit
def is_blank(byte: int) -> bool:
    """One of `streamad.records.values.BLANKS`."""
    return byte == 32 or 9 <= byte <= 13


@njit
def trimmed(data: NDArray[np.uint8], start: Place, stop: Place) -> tuple[Place, Place]:
    """The span without the blanks around it."""
    while start < stop and data[start] <= 32 and is_blank(data[start]):
        start += ONE
    while start < stop and data[stop - ONE] <= 32 and is_blank(data[stop - ONE]):
        stop -= ONE
    return start, stop


@njit
def decimal(data: NDArray[np.uint8], p: Place, end: Place) -> tuple[float, Place, bool]:
    """The decimal number at `p`: (value, first byte behind it, understood). Equal to ``float(text)``."""
    sign = data[p]
    if sign in (45, 43):
        p += ONE
    mantissa, exponent, p, good = figures(data, p, end)
    if good and p < end and data[p] | 32 == 101:
        power, p, good = power_at(data, p + ONE, end)
        exponent += power
    if not good:
        return NAN, p, False
    value, good = scaled(mantissa, exponent)
    return (-value if sign == 45 else value), p, good


@njit
def figures(data: NDArray[np.uint8], p: Place, end: Place) -> tuple[int, int, Place, bool]:
    """(mantissa, exponent, first byte behind, understood) of ``123.45``: at least one digit, at most 18.

    Zeros directly behind the point of a number below 1 do not count as digits.
    """
    mantissa, begin = 0, p
    while p < end:
        digit = signed(data[p]) - 48
        if digit < 0 or digit > 9:
            break
        mantissa = mantissa * 10 + digit
        p += ONE
    digits, fraction, zeros = p - begin, ZERO, ZERO
    if p < end and data[p] == 46:
        p += ONE
        begin = p
        while mantissa == 0 and p < end and data[p] == 48:
            p += ONE
        zeros = p - begin
        while p < end:
            digit = signed(data[p]) - 48
            if digit < 0 or digit > 9:
                break
            mantissa = mantissa * 10 + digit
            p += ONE
        fraction = p - begin
    good = digits + fraction > ZERO and digits + fraction - zeros <= MAX_DIGITS
    return mantissa, -signed(fraction), p, bool(good)


@njit
def power_at(data: NDArray[np.uint8], p: Place, end: Place) -> tuple[int, Place, bool]:
    """(power of ten, first byte behind, understood) of ``-05``, what follows an e: one to four digits."""
    negative = p < end and data[p] == 45
    if p < end and data[p] in (43, 45):
        p += ONE
    value, begin = 0, p
    while p < end and 48 <= data[p] <= 57:
        value = value * 10 + signed(data[p]) - 48
        p += ONE
    digits = p - begin
    return (-value if negative else value), p, bool(ZERO < digits <= FOUR)


@njit
def scaled(mantissa: int, exponent: int) -> tuple[float, bool]:
    """(the double nearest to ``mantissa * 10**exponent``, whether that is sure).

    One operation on two exact doubles is correctly rounded. A larger mantissa is divided in two doubles'
    precision (Dekker 1971, "A floating-point technique for extending the available precision", mul12 and
    div2), and refused where the remaining error could reach a rounding boundary.
    """
    if mantissa == 0 or (exponent == 0 and mantissa <= EXACT):
        return float(mantissa), True
    if not -MAX_POWER <= exponent <= MAX_POWER or (exponent >= 0 and mantissa > EXACT):
        return NAN, False
    power = POWERS[abs(exponent)]
    if mantissa <= EXACT:
        return (mantissa * power if exponent > 0 else mantissa / power), True
    high = float(mantissa)
    low = float(mantissa - np.int64(high))
    quotient = high / power
    rest = (((high - quotient * power) - product_error(quotient, power)) + low) / power
    slack = abs(rest) * 2.0**-45 + quotient * 2.0**-95
    value = quotient + (rest - slack)
    return value, value == quotient + (rest + slack)


@njit
def product_error(a: float, b: float) -> float:
    """``a * b`` exactly, less the double ``a * b``: both halves of each factor multiply without rounding."""
    big = a * SPLITTER
    a_high = big - (big - a)
    big = b * SPLITTER
    b_high = big - (big - b)
    a_low, b_low = a - a_high, b - b_high
    return ((a_high * b_high - a * b) + a_high * b_low + a_low * b_high) + a_low * b_low


@njit
def boolean(data: NDArray[np.uint8], start: int, stop: int) -> float:
    """1.0, 0.0, or NaN where it is not understood."""
    length, first = stop - start, data[start] | 32
    if length == 1:
        if data[start] == 49 or first == 116:
            return 1.0
        return 0.0 if data[start] == 48 or first == 102 else np.nan
    if (length == 4 and word_at(data, start, b"true")) or (length == 3 and word_at(data, start, b"yes")):
        return 1.0
    if (length == 5 and word_at(data, start, b"false")) or (length == 2 and word_at(data, start, b"no")):
        return 0.0
    return np.nan


@njit
def word_at(data: NDArray[np.uint8], start: int, word: bytes) -> bool:
    """Whether the letters of `word` (lower case) stand here, in any case."""
    for i in range(len(word)):  # noqa: SIM110 - kernels have no generators
        if data[start + i] | 32 != word[i]:
            return False
    return True


@njit
def truth(data: NDArray[np.uint8], start: int, stop: int, meaning: Meaning) -> int:
    """0 for a word that means normal, else 1; case and one trailing dot do not count."""
    if data[stop - 1] == 46:
        stop -= 1
    bounds = meaning.normal_bounds
    for word in range(len(bounds) - 1):
        begin, length = bounds[word], bounds[word + 1] - bounds[word]
        if length != stop - start:
            continue
        same = True
        for i in range(length):
            byte = data[start + i]
            lower = byte + 32 if 65 <= byte <= 90 else byte
            if lower != meaning.normal[begin + i]:
                same = False
                break
        if same:
            return 0
    return 1


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
def date(data: NDArray[np.uint8], p: int) -> tuple[int, bool]:
    """(days since 1970, understood) of ten bytes ``YYYY-MM-DD``."""
    year, month, day = digits_at(data, p, 4), digits_at(data, p + 5, 2), digits_at(data, p + 8, 2)
    if data[p + 4] != 45 or data[p + 7] != 45 or year < 1 or not 1 <= month <= 12:
        return 0, False
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= MONTH_DAYS[month - 1] + (1 if leap else 0):
        return 0, False
    return days_since_1970(year, month, day), True


@njit
def zone_seconds(data: NDArray[np.uint8], p: int, stop: int, utc: bool) -> tuple[int, bool]:
    """(seconds east of UTC, understood) of ``Z``, ``+HH:MM`` or nothing."""
    if p == stop:
        return 0, utc
    if stop - p == 1:
        return 0, data[p] | 32 == 122
    if stop - p != 6 or data[p + 3] != 58 or data[p] not in (43, 45):
        return 0, False
    hours, minutes = digits_at(data, p + 1, 2), digits_at(data, p + 4, 2)
    seconds = hours * 3600 + minutes * 60
    return (-seconds if data[p] == 45 else seconds), 0 <= hours <= 23 and 0 <= minutes <= 59


@njit
def iso_time(data: NDArray[np.uint8], start: int, stop: int, utc: bool) -> int:
    """Microseconds since 1970, or `MISSING_TIME` where it is not understood."""
    if stop - start < 19 or data[start + 13] != 58 or data[start + 16] != 58:
        return MISSING_TIME
    if data[start + 10] | 32 != 116 and data[start + 10] != 32:
        return MISSING_TIME
    days, good = date(data, start)
    hour, minute = digits_at(data, start + 11, 2), digits_at(data, start + 14, 2)
    second = digits_at(data, start + 17, 2)
    p, fraction, scale = start + 19, 0, 100_000
    if p + 1 < stop and data[p] == 46 and 48 <= data[p + 1] <= 57:
        p += 1
        while p < stop and 48 <= data[p] <= 57:
            fraction += (data[p] - 48) * scale
            scale //= 10
            p += 1
    east, zoned = zone_seconds(data, p, stop, utc)
    if not (good and zoned and 0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return MISSING_TIME
    whole = (days * 86_400 + hour * 3600 + minute * 60 + second - east) * 1_000_000 + fraction
    return whole if FIRST_TIME <= whole <= LAST_TIME else MISSING_TIME


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
def time(data: NDArray[np.uint8], start: int, stop: int, meaning: Meaning) -> int:
    """Microseconds since 1970, or `MISSING_TIME` where it is not understood."""
    if meaning.time_format == ISO:
        return iso_time(data, start, stop, meaning.utc)
    if meaning.time_format == EPOCH:
        return epoch_time(data, start, stop, meaning.time_digits)
    return MISSING_TIME


@njit
def plain_value(
    data: NDArray[np.uint8],
    begin: Place,
    end: Place,
    row: int,
    kind: int,
    target: int,
    out: Out,
    meaning: Meaning,
    spans: NDArray[Place],
) -> bool:
    """Write one trimmed value that is no number to its place in row `row`; whether it was understood.

    Categories are only noted in `spans` [C, 2]: a row must prove acceptable before its values are admitted.
    """
    if kind == CATEGORY:
        spans[target, 0], spans[target, 1] = begin, end
        return True
    if begin == end or kind == SKIP:
        return True
    start, stop = signed(begin), signed(end)
    if kind == BOOLEAN:
        value = boolean(data, start, stop)
        out.numbers[row, target] = value
        return not np.isnan(value)
    if kind == TIME:
        out.times[row] = time(data, start, stop, meaning)
        return bool(out.times[row] != MISSING_TIME)
    out.truth[row] = truth(data, start, stop, meaning)
    return True


@njit
def slot_of(data: NDArray[np.uint8], start: Place, stop: Place, seed: Place, slots: int) -> Place:
    """The first hash slot (of a power of two) to look at: FNV-1a from a secret start, its bits mixed."""
    state = seed
    for i in range(start, stop):
        state = (state ^ Place(data[i])) * Place(0x100000001B3)
    state = (state ^ (state >> Place(32))) * Place(0x9E3779B97F4A7C15)
    return (state >> Place(32)) & Place(slots - 1)


@njit
def find(data: NDArray[np.uint8], start: Place, stop: Place, tables: Tables, field: int) -> tuple[int, Place]:
    """(code or 0, the slot it was found in or belongs in): the bytes are compared, never only the hash."""
    slots = tables.slots.shape[1]
    slot = slot_of(data, start, stop, tables.seed[0], slots)
    while True:
        code = tables.slots[field, slot]
        if code == OTHER_CODE:
            return OTHER_CODE, slot
        begin = Place(tables.bounds[field, code])
        same = Place(tables.bounds[field, code + 1]) - begin == stop - start
        i = start
        while same and i < stop:
            same = tables.arena[field, begin + i - start] == data[i]
            i += ONE
        if same:
            return code, slot
        slot = (slot + ONE) & Place(slots - 1)


@njit
def code_of(
    data: NDArray[np.uint8],
    start: Place,
    stop: Place,
    tables: Tables,
    field: int,
    record: int,
    learn: bool,
) -> int:
    """The code of a trimmed category value: `Dictionary.code`, compiled."""
    length = signed(stop - start)
    if length == 0:
        return MISSING_CODE
    if length > MAX_VALUE_BYTES:
        return OTHER_CODE
    code, slot = find(data, start, stop, tables, field)
    if code != OTHER_CODE:
        return code if learn or tables.first_seen[field, code] <= record else OTHER_CODE
    code = int(tables.counts[field])
    begin = tables.bounds[field, code] if code < tables.first_seen.shape[1] else tables.arena.shape[1]
    if not learn or begin + length > tables.arena.shape[1] - MAX_VALUE_BYTES:
        return OTHER_CODE
    for i in range(length):
        tables.arena[field, begin + i] = data[start + Place(i)]
    tables.bounds[field, code + 1] = begin + length
    tables.first_seen[field, code] = record
    tables.slots[field, slot] = code
    tables.counts[field] = tables.indexed[field] = code + 1
    return code


@njit
def index_new(tables: Tables) -> None:
    """Take the values that the general decoder admitted into the hash slots."""
    for field in range(len(tables.counts)):
        for code in range(tables.indexed[field], tables.counts[field]):
            start, stop = Place(tables.bounds[field, code]), Place(tables.bounds[field, code + 1])
            slot = find(tables.arena[field], start, stop, tables, field)[1]
            tables.slots[field, slot] = code
        tables.indexed[field] = tables.counts[field]
