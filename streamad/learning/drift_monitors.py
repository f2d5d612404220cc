"""What is watched of a feed for drift: figures between -1 and 1 of each record, summed over blocks of records.

A numeric field counts in robust deviations from its median, cut off at one: what its bulk does, whatever its tail
does. Everything else is a share. Sums are of whole numbers, so that no order of adding and no cut of batches matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np

from streamad.records.batch import ACCEPTED, MISSING_CODE, OTHER_CODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from streamad.records.batch import Batch
    from streamad.records.schema import Schema
    from streamad.state.buffer import Snapshot

MOST_VALUES = 62
"""Values of a category field that are watched each by itself; the others are one share, missing ones another."""

_STEPS = 256.0
"""Whole numbers to one: figures are rounded to this."""
FIT_ROWS = 4096
"""Of a window, the youngest rows that scales and values are taken from."""
_TO_DEVIATION = 1.349
"""Between the quartiles of a normal distribution lie so many standard deviations."""
_ANY = 1e12
"""What a field that was constant is multiplied with: any other value counts in full."""

Kind = Literal["score", "rejected", "level", "missing", "share"]


@dataclass(frozen=True, slots=True)
class Monitor:
    """One figure that is watched."""

    kind: Kind
    field: str
    """The field that it is about; ``(score)`` and ``(rejected)`` are about none."""


class Sums(NamedTuple):
    """Of one block, or of a part of it."""

    figures: NDArray[np.int64]
    """[M] over the sampled records, in `_STEPS`; of `rejected` over all."""
    rows: NDArray[np.int64]
    """How many records were looked at, and how many there were."""

    def with_part(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(self.figures + other.figures, self.rows + other.rows)


@dataclass(frozen=True, eq=False)
class Gauges:
    """How a record's figures are taken: score and rejected, each number's level, what is missing, each value's share."""

    schema: Schema
    centre: NDArray[np.float64]
    """[N] medians; 0 for booleans."""
    scale: NDArray[np.float64]
    """[N] robust standard deviations, 0 where a field was constant; 1 for booleans."""
    values: tuple[tuple[str, ...], ...]
    """Per category field the values watched, the most frequent first."""
    _factor: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    _table: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _last: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _first: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def fit(
        cls,
        schema: Schema,
        window: Snapshot,
        values: Sequence[Sequence[str]],
        watched: tuple[tuple[str, ...], ...] | None = None,
    ) -> Self:
        """From a window's youngest rows; ``values[field][code]`` is the dictionary.

        Its most frequent values are watched, or those of `watched`.
        """
        numbers = window.numbers[-FIT_ROWS:]
        centre, scale = np.zeros(numbers.shape[1]), np.zeros(numbers.shape[1])
        for column, known in enumerate(numbers.T[: len(schema.names("numeric"))]):
            centre[column], scale[column] = _robust(known[~np.isnan(known)])
        scale[len(schema.names("numeric")) :] = 1.0
        frequent = tuple(
            _frequent(codes, values[column]) for column, codes in enumerate(window.codes[-FIT_ROWS:].T)
        )
        return cls(schema, centre, scale, watched or frequent).bind(values)

    def bind(self, values: Sequence[Sequence[str]]) -> Self:
        """Read category codes of this dictionary from now on."""
        tables, start = [], 0
        for watched, known in zip(self.values, values, strict=True):
            place = {value: slot + 2 for slot, value in enumerate(watched)}
            # missing, not in the dictionary, each value of it, and what it takes in later
            slots = [0, 1, *(place.get(value, 1) for value in known[1:]), 1]
            tables.append(np.array(slots, np.int64) + start)
            start += len(watched) + 2
        sizes = np.array([len(table) for table in tables], np.int64)
        return replace(
            self,
            _factor=(_STEPS / np.where(self.scale > 0, self.scale, 1 / _ANY)).astype(np.float32),
            _table=np.concatenate(tables) if tables else np.zeros(0, np.int64),
            _last=sizes - 1,
            _first=np.cumsum(sizes) - sizes,
        )

    @property
    def others(self) -> frozenset[int]:
        """The monitors of the values that are not watched."""
        sizes = [len(watched) + 2 for watched in self.values]
        return frozenset((np.cumsum([0, *sizes])[:-1] + 3 + 2 * len(self.centre)).tolist())

    @property
    def monitors(self) -> tuple[Monitor, ...]:
        """The M monitors in the order of all arrays."""
        found = [Monitor("score", "(score)"), Monitor("rejected", "(rejected)")]
        found += [Monitor("level", name) for name in self.schema.names("numeric")]
        found += [Monitor("share", name) for name in self.schema.names("boolean")]
        found += [Monitor("missing", name) for name in self.schema.numbers]
        for name, watched in zip(self.schema.categories, self.values, strict=True):
            found += [Monitor("share", name)] * (len(watched) + 2)
        return tuple(found)

    def spelled(self, monitor: int, means: NDArray[np.float32]) -> float:
        """A monitor's mean as people know it: a level in the field's own unit, a share, a p-value."""
        mean, column = float(means[monitor]), monitor - 2
        if monitor == 0:
            mean = (1 - mean) / 2
        elif 0 <= column < len(self.centre) and self.scale[column]:
            mean = self.centre[column] + self.scale[column] * mean
        return float(f"{mean:.4g}")

    @cached_property
    def count(self) -> int:
        """M."""
        return 2 + 2 * len(self.centre) + sum(len(watched) + 2 for watched in self.values)

    def nothing(self) -> Sums:
        """Of no records."""
        return Sums(np.zeros(self.count, np.int64), np.zeros(2, np.int64))

    def means(self, sums: Sums) -> NDArray[np.float32]:
        """[M] in [-1, 1]; zeros where nothing was looked at."""
        sampled, records = (_STEPS * np.maximum(sums.rows, 1)).tolist()
        out: NDArray[np.float32] = (sums.figures / sampled).astype(np.float32)
        out[1] = sums.figures[1] / records
        return out

    def sums(
        self,
        batch: Batch,
        p_values: NDArray[np.float64],
        sample: NDArray[np.bool_],
        edges: Sequence[int],
    ) -> list[Sums]:
        """Of the parts ``[edges[i], edges[i + 1])`` of a batch; `sample` [n] says which records are looked at."""
        accepted = batch.status == ACCEPTED
        rows = np.flatnonzero(sample & accepted)
        cuts = np.searchsorted(rows, edges)
        rows, cuts = rows[cuts[0] : cuts[-1]], cuts - cuts[0]
        count = len(self.centre)
        figures = np.zeros((len(edges) - 1, self.count), np.int64)
        levels, missing = self._levels(batch.numbers[rows])
        figures[:, :1] = _added((1 - 2 * p_values[rows, None]) * _STEPS, cuts)
        figures[:, 2 : 2 + count] = _added(levels, cuts)
        if missing is not None:
            figures[:, 2 + count : 2 + 2 * count] = _added(missing * _STEPS, cuts)
        figures[:, 2 + 2 * count :] = self._shares(batch.codes[rows], cuts)
        if not accepted.all():
            figures[:, 1] = np.add.reduceat(~accepted, edges[:-1], dtype=np.int64) * int(_STEPS)
        sizes = np.stack((np.diff(cuts), np.diff(edges)), axis=1)
        return [Sums(*part) for part in zip(figures, sizes, strict=True)]

    def _levels(self, numbers: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """[n, N] the levels in `_STEPS`, not yet rounded; [n, N] what is missing, None if nothing is."""
        missing, levels = np.isnan(numbers), np.empty(numbers.shape, np.float32)
        with np.errstate(over="ignore"):
            np.subtract(numbers, self.centre, out=levels, casting="same_kind")
            levels *= self._factor
        np.maximum(np.minimum(levels, _STEPS, out=levels), -_STEPS, out=levels)
        if not missing.any():
            return levels, None
        levels[missing] = 0.0
        return levels, missing

    def _shares(self, codes: NDArray[np.int32], cuts: NDArray[np.int64]) -> NDArray[np.int64]:
        """[parts, slots] how often each value of each category field came."""
        parts, slots = len(cuts) - 1, sum(len(watched) + 2 for watched in self.values)
        if not slots:
            return np.zeros((parts, 0), np.int64)
        slot = self._table[np.minimum(codes - MISSING_CODE, self._last) + self._first]
        slot += np.repeat(np.arange(parts) * slots, np.diff(cuts))[:, None]
        counts = np.bincount(slot.ravel(), minlength=parts * slots)
        return counts.reshape(parts, slots) * int(_STEPS)

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "values": [list(watched) for watched in self.values],
        }

    @classmethod
    def from_state(cls, schema: Schema, state: Mapping[str, Any], values: Sequence[Sequence[str]]) -> Self:
        """Undo `state`, for the codes of this dictionary."""
        centre, scale = np.array(state["centre"], np.float64), np.array(state["scale"], np.float64)
        return cls(schema, centre, scale, tuple(map(tuple, state["values"]))).bind(values)


def _added(figures: NDArray[np.floating[Any]], cuts: NDArray[np.int64]) -> NDArray[np.int64]:
    """[parts, m] sums of figures [n, m], rounded, from each cut to the next."""
    out = np.zeros((len(cuts) - 1, figures.shape[1]), np.int64)
    some = np.flatnonzero(np.diff(cuts))
    if len(some):
        out[some] = np.add.reduceat(np.rint(figures), cuts[some], axis=0)
    return out


def _robust(known: NDArray[np.float64]) -> tuple[float, float]:
    """Median and robust deviation of a column's values [n].

    Between the quartiles, or where most values are one and the same, of all but the farthest hundredth on either side.
    """
    if not len(known):
        return 0.0, 0.0
    low, first, middle, third, high = np.quantile(known, (0.01, 0.25, 0.5, 0.75, 0.99)).tolist()
    if third > first:
        return middle, (third - first) / _TO_DEVIATION
    return middle, float(np.clip(known, low, high).std())


def _frequent(codes: NDArray[np.int32], values: Sequence[str]) -> tuple[str, ...]:
    """The values that came most often, ties in the order of their text."""
    counts = np.bincount(codes[codes > OTHER_CODE], minlength=1)
    ranked: Iterable[tuple[int, str]] = sorted(
        (-int(counts[code]), values[code]) for code in np.flatnonzero(counts).tolist()
    )
    return tuple(value for _, value in ranked)[:MOST_VALUES]
