"""What the text of one value means, for each kind and role of field. The compiled decoder reads the same way."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal, DecimalException
from zoneinfo import ZoneInfo

from streamad.errors import UserError
from streamad.records.batch import Rejection
from streamad.records.schema import TimeSpec, TruthSpec

BLANKS = " \t\n\v\f\r"
"""What is trimmed around every value."""

TRUE_WORDS = frozenset({"1", "true", "t", "yes"})
FALSE_WORDS = frozenset({"0", "false", "f", "no"})

EPOCH_DIGITS = {"epoch_s": 6, "epoch_ms": 3, "epoch_us": 0}
"""Decimal places between the unit of an epoch time and the microsecond."""

FIRST_TIME, LAST_TIME = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds since 1970 of the years 1 to 9999; other epoch times are unreadable."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r" ?([Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UnreadableError(Exception):
    """A payload that cannot become a record. Never leaves `streamad.records`."""

    def __init__(self, reason: str, field: str | None = None, detail: str = "") -> None:
        super().__init__(reason)
        self.rejection = Rejection(reason, field, detail)


def shown(text: str) -> str:
    """The beginning of a text, escaped and quoted, for a sentence about it."""
    escaped = text[:80].encode("unicode_escape").decode("ascii")
    return f"'{escaped[:77]}...'" if len(escaped) > 80 or len(text) > 80 else f"'{escaped}'"


def number(field: str, text: str) -> float:
    """The double nearest to a decimal number. Raises `UnreadableError` (not_a_number, not_finite)."""
    if not _NUMBER.fullmatch(text):
        if _NOT_FINITE.fullmatch(text):
            raise UnreadableError("not_finite", field, f"{shown(text)} is not a finite number")
        raise UnreadableError("not_a_number", field, f"{shown(text)} is not a number")
    value = float(text)
    if math.isinf(value):
        raise UnreadableError("not_finite", field, f"{shown(text)} is too large for a double")
    return value


def boolean(field: str, text: str) -> float:
    """1.0 or 0.0. Raises `UnreadableError` (not_a_boolean)."""
    word = text.lower()
    if word in TRUE_WORDS:
        return 1.0
    if word in FALSE_WORDS:
        return 0.0
    raise UnreadableError("not_a_boolean", field, f"{shown(text)} is neither true nor false")


_SURE_DIGITS = 15


def exact_number(text: str) -> float | int | str:
    """A number that was accepted, for people: its own spelling where a double cannot hold it."""
    if len(text) <= _SURE_DIGITS and text.isascii():  # a double holds any number of 15 digits
        if text.isdigit():
            return int(text)
        if text.replace(".", "", 1).isdigit():
            return float(text)
    try:
        exact = Decimal(text)
        nearest = float(text)
        if not math.isfinite(nearest) or (Decimal(repr(nearest)) != exact and Decimal(nearest) != exact):
            return str(text)
    except (DecimalException, ValueError):
        return str(text)
    whole = text.lstrip("+-").isdigit() and not (exact.is_zero() and exact.is_signed())
    return int(exact) if whole else nearest


def normal_words(spec: TruthSpec) -> frozenset[str]:
    """The values that mean normal, in the spelling that `truth` compares."""
    return frozenset(_truth_word(value.strip(BLANKS)) for value in spec.normal)


def truth(text: str, normal: frozenset[str]) -> int:
    """0 where a label says normal, else 1; case and one trailing dot (KDDCUP99) do not count."""
    return 0 if _truth_word(text) in normal else 1


def _truth_word(text: str) -> str:
    return text.lower().removesuffix(".")


def time_reader(spec: TimeSpec) -> Callable[[str], int]:
    """A function from text to microseconds since 1970 UTC, which raises `UnreadableError` (bad_time).

    Raises `UserError` for a zone that does not exist.
    """
    zone = None if spec.zone is None else find_zone(spec.zone)
    if spec.format in EPOCH_DIGITS:
        digits = EPOCH_DIGITS[spec.format]
        return lambda text: _epoch_time(spec.field, text, digits)
    if spec.format == "iso":
        return lambda text: _microseconds(spec.field, text, lambda: _iso_time(text), zone)
    return lambda text: _microseconds(
        spec.field,
        text,
        lambda: datetime.strptime(text, spec.format),  # noqa: DTZ007 - the zone is looked at right after
        zone,
    )


def find_zone(name: str) -> tzinfo:
    """An IANA zone; UTC is known also where the system has no zone files. Raises `UserError`."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        message = f"schema.time.zone: {shown(name)} is not a time zone that this system knows"
        raise UserError(message) from None


def _epoch_time(field: str, text: str, digits: int) -> int:
    value = math.nan if not _NUMBER.fullmatch(text) else float(text) * 10**digits
    # One unit of slack: the exact comparison below needs numbers of a sane size first.
    if not FIRST_TIME - 1 <= value <= LAST_TIME + 1:
        raise UnreadableError("bad_time", field, f"{shown(text)} is not a time since 1970")
    whole = _floor_scaled(text, digits)
    if not FIRST_TIME <= whole <= LAST_TIME:
        raise UnreadableError("bad_time", field, f"{shown(text)} is not a time since 1970")
    return whole


def _floor_scaled(text: str, digits: int) -> int:
    """floor(text * 10**digits), exactly, for a number whose size was checked."""
    try:
        exact = Decimal(text)
    except DecimalException:  # an exponent beyond all bounds: zero, or just below it
        return 0
    sign, figures, exponent = exact.as_tuple()
    shift = int(exponent) + digits
    if shift >= 0:
        return int(exact.scaleb(digits)) if any(figures) else 0
    whole = int("".join(map(str, figures[:shift])) or "0") if len(figures) > -shift else 0
    return -whole - any(figures[shift:]) if sign else whole


def _iso_time(text: str) -> datetime:
    """RFC 3339, also without seconds, zone or time of day. Raises ValueError."""
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    moment = datetime(int(year), int(month), int(day), tzinfo=_offset(offset))
    if int(hour or 0) > 23 or int(minute or 0) > 59 or int(second or 0) > 60:
        raise ValueError
    return (
        moment
        + timedelta(
            hours=int(hour or 0),
            minutes=int(minute or 0),
            seconds=int(second or 0),  # 60 is a leap second: the first of the next minute
            microseconds=int((fraction or "")[:6].ljust(6, "0")),
        )
    )


def _offset(text: str | None) -> tzinfo | None:
    if text is None or text in "Zz":
        return None if text is None else UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 23 or minutes > 59:
        raise ValueError
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=hours, minutes=minutes))


def _microseconds(field: str, text: str, read: Callable[[], datetime], zone: tzinfo | None) -> int:
    try:
        moment = read()
        if moment.tzinfo is None and zone is None:
            raise UnreadableError("bad_time", field, f"{shown(text)} has no time zone, and none is set")
        aware = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        whole = (aware - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        whole = LAST_TIME + 1
    if not FIRST_TIME <= whole <= LAST_TIME:
        raise UnreadableError("bad_time", field, f"{shown(text)} is not a time as it is configured")
    return whole
