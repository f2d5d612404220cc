"""Kernels for numbers, and what all kernels share.

Every kernel reads ``data[start:stop]`` and says whether it understood. What it understands it reads exactly as
`streamad.records.values` does; everything else is left to the general decoder, never guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamad.records.compiled import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
