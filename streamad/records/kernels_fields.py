"""Kernels for what a field is: booleans, labels, times and the places of categories."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamad.records.batch import MISSING_TIME
from streamad.records.compiled import njit
from streamad.records.kernels import Place, signed
from streamad.records.kernels_time import TimePlan, time

if TYPE_CHECKING:
    from numpy.typing import NDArray

SKIP, NUMBER, BOOLEAN, CATEGORY, TIME, TRUTH = range(6)
"""What a kernel does with a field."""


class Meaning(NamedTuple):
    """How the time and label columns read."""

    time: TimePlan
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
        out.times[row] = time(data, start, stop, meaning.time)
        return bool(out.times[row] != MISSING_TIME)
    out.truth[row] = truth(data, start, stop, meaning)
    return True
