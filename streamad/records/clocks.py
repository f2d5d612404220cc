"""Which sampled column is a clock, and how its times are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamad.records.schema import TimeSpec
from streamad.records.table import MAJORITY, is_number
from streamad.records.values import UnreadableError, time_reader

_PATTERNS = (
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y/%m/%d %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%d.%m.%Y %H:%M:%S",
    "%d-%m-%Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d %b %Y %H:%M:%S",
)
_PACKED = "%Y%m%d%H%M%S"
_EPOCHS = {"epoch_s": 1, "epoch_ms": 1000, "epoch_us": 1_000_000}
_FIRST, _LAST = 946_684_800, 4_102_444_800
"""Seconds since 1970 of the years 2000 and 2100: a number in between may be an epoch time."""

_TIME_WORDS = frozenset({"time", "timestamp", "ts", "datetime", "date", "epoch", "when", "clock"})
_RELATIVE_WORDS = _TIME_WORDS | {"seconds", "secs", "elapsed"}
_PROBE, _GLANCE = 300, 10
_GROWING = 0.8
_STEPS = 20
"""Neighbouring rows of a clock may be out of order; of steps this large, `_GROWING` go forward."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A column that can be the event time."""

    spec: TimeSpec
    rank: float
    """Higher = more likely the event time."""
    zoned: bool
    """Whether the times say their zone, so that none had to be assumed."""
    relative: bool = False
    """Whether it counts from some zero of its own, not from 1970."""


def find_clock(name: str, column: Sequence[str | None]) -> Clock | None:
    """How a column reads as a clock, None where it is none."""
    values = [value for value in column if value is not None]
    if not values or "${" in name:  # the config would take that for a variable of the environment
        return None
    hinted = bool(_words(name) & _TIME_WORDS)
    found = [
        _clock(name, values, form, hinted=hinted)
        for form in _formats(values[:: max(1, len(values) // _PROBE)])
    ]
    found.append(_relative_clock(name, values))
    return max((clock for clock in found if clock), key=lambda clock: clock.rank, default=None)


def steadiness(values: Sequence[float], lag: int = 1) -> float:
    """The share of steps over `lag` rows that do not go back."""
    steps = [later >= earlier for earlier, later in zip(values, values[lag:], strict=False)]
    return sum(steps) / len(steps) if steps else 0.0


def _formats(probe: Sequence[str]) -> list[str]:
    """The formats in which nearly all of a few values can be read."""
    if sum(map(is_number, probe)) < MAJORITY * len(probe):
        return _readable_in(probe, ("iso", *_PATTERNS))
    numbers = [float(value) for value in probe if is_number(value)]
    epochs = [
        form
        for form, unit in _EPOCHS.items()
        if sum(_FIRST <= value / unit <= _LAST for value in numbers) >= MAJORITY * len(probe)
    ]
    return epochs + _readable_in(probe, (_PACKED,))


def _readable_in(probe: Sequence[str], forms: Sequence[str]) -> list[str]:
    likely = [form for form in forms if _share_read(probe[:_GLANCE], form)]
    return [form for form in likely if _share_read(probe, form) >= MAJORITY]


def _share_read(values: Sequence[str], form: str) -> float:
    return len(_read(TimeSpec(field="", format=form, zone="UTC"), values)) / len(values)


def _read(spec: TimeSpec, values: Iterable[str]) -> list[int]:
    """Microseconds of the values that can be read."""
    read = time_reader(spec)
    times = []
    for value in values:
        try:
            times.append(read(value))
        except UnreadableError:
            continue
    return times


def _clock(name: str, values: Sequence[str], form: str, *, hinted: bool) -> Clock | None:
    assumed = TimeSpec(field=name, format=form, zone="UTC")
    times = _read(assumed, values)
    steady = steadiness(times, max(1, len(times) // _STEPS))
    grows = steady >= _GROWING and times[0] < times[-1]
    if len(times) < MAJORITY * len(values) or not (hinted or grows):
        return None
    exact = TimeSpec(field=name, format=form)
    zoned = len(_read(exact, values)) == len(times)
    rank = steady + 0.5 * hinted + 0.1 * zoned + 0.1 * len(set(times)) / len(times)
    return Clock(exact if zoned else assumed, rank, zoned)


def _relative_clock(name: str, values: Sequence[str]) -> Clock | None:
    """A column with a clock's name that counts up from a zero of its own."""
    if not _words(name) & _RELATIVE_WORDS:
        return None
    numbers = [float(value) for value in values if is_number(value)]
    if len(numbers) < MAJORITY * len(values) or min(numbers) < 0 or max(numbers) >= _FIRST:
        return None
    if steadiness(numbers) < MAJORITY or len(set(numbers)) < 3:
        return None
    return Clock(TimeSpec(field=name, format="epoch_s"), 0.5, zoned=True, relative=True)


def _words(name: str) -> set[str]:
    """The words of a field name: ``eventTime``, ``event_time`` and ``event.time`` alike."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return {word.lower() for word in re.split(r"[^A-Za-z0-9]+", split) if word}
