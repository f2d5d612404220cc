"""The sliding window of decoded rows that training draws from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamad.records.batch import MISSING_TIME
from streamad.records.dictionary import remap

_HOUR = 3_600_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Copies of the n rows that the window held at one moment."""

    numbers: NDArray[np.float64]
    """[n, N] before scaling; NaN = missing."""
    codes: NDArray[np.int32]
    """[n, C] codes of the dictionary generation that was current."""
    records: NDArray[np.int64]
    """[n] record numbers, or what stands for them (`Batch.identities`)."""
    times: NDArray[np.int64]
    """[n] microseconds since 1970, `MISSING_TIME` where there is none."""


class Buffer:
    """A ring of `capacity` rows: memory is taken once, at the start.

    Labeled rows, which outlive the window, are kept by `streamad.learning.labels.LabelBook`.
    """

    def __init__(
        self,
        capacity: int,
        numbers: int,
        categories: int,
        *,
        hours: float | None = None,
    ) -> None:
        self._capacity = capacity
        self._hours = hours
        self._numbers = np.zeros((capacity, numbers))
        self._codes = np.zeros((capacity, categories), np.int32)
        self._records = np.zeros(capacity, np.int64)
        self._times = np.zeros(capacity, np.int64)
        self._start = self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(
        self,
        numbers: NDArray[np.float64],
        codes: NDArray[np.int32],
        records: NDArray[np.int64],
        times: NDArray[np.int64],
    ) -> None:
        """Add n rows in record order ([n, N], [n, C], [n], [n]); the oldest make room. O(n)."""
        skip = max(0, len(records) - self._capacity)
        rows = len(records) - skip
        end = (self._start + self._size) % self._capacity
        head = min(rows, self._capacity - end)
        rings: list[NDArray[Any]] = [self._numbers, self._codes, self._records, self._times]
        sources: list[NDArray[Any]] = [numbers, codes, records, times]
        for ring, values in zip(rings, sources, strict=True):
            ring[end : end + head] = values[skip : skip + head]
            ring[: rows - head] = values[skip + head :]
        overwritten = max(0, self._size + rows - self._capacity)
        self._start = (self._start + overwritten) % self._capacity
        self._size += rows - overwritten

    def snapshot(self, youngest: int | None = None) -> Snapshot:
        """Contiguous copies, of so many rows or of all: the stream goes on while they are worked with."""
        rows = self._rows()[-(youngest or self._capacity) :]
        return Snapshot(
            self._numbers[rows],
            self._codes[rows],
            self._records[rows],
            self._times[rows],
        )

    def codes(self) -> NDArray[np.int32]:
        """[n, C] a copy of the window's codes: what a new dictionary generation counts."""
        return self._codes[self._rows()]

    def records_per_hour(self) -> float | None:
        """How fast the ring's rows came, None where their times cannot tell.

        Measured between the 10 % and the 90 % quantile of at most 1,024 of the times, so that neither a few
        wrong clocks nor the size of the ring matter.
        """
        spread = np.linspace(0, self._size - 1, min(self._size, 1024)).astype(np.int64)
        times = self._times[(self._start + spread) % self._capacity]
        known = times[times != MISSING_TIME]
        if not len(known):
            return None
        early, late = np.quantile(known, (0.1, 0.9))
        if late <= early:
            return None
        return float(0.8 * self._size * len(known) / len(times) * _HOUR / (late - early))

    def remap(self, tables: Sequence[NDArray[np.int32]]) -> None:
        """Carry every row over to a new dictionary generation.

        `tables` is what `Dictionary.rebuild` returned: per categorical field, old code + 1 -> new code.
        """
        codes = self._codes[: self._size]
        codes[:] = remap(codes, tables)

    def _rows(self) -> NDArray[np.int64]:
        """[n] where the window's rows lie in the ring, in record order."""
        rows = (self._start + np.arange(self._size)) % self._capacity
        return rows[self._fresh(self._times[rows])]

    def _fresh(self, times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[n] whether a row is young enough; rows without a time have no age.

        The age counts from the newest row of the ring, so that it depends on nothing that was dropped.
        """
        if self._hours is None or not len(times):
            return np.ones(len(times), np.bool_)
        oldest = int(times.max()) - int(self._hours * _HOUR)
        return np.asarray((times == MISSING_TIME) | (times >= oldest))
