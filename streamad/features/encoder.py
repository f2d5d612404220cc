"""From decoded records to what a detector reads: scaled numbers, missing indicators and one-hot categories.

The columns of an encoded row, in order: every number of the schema, one indicator for each number that
was missing somewhere in the window, then one block a category field: a slot for each value worth one,
a slot for every other value ("unseen"), and a slot for missing values where the window had some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamad.features.options import FeatureOptions
from streamad.features.scaling import Scaler
from streamad.records.batch import MISSING_CODE
from streamad.records.schema import Schema

CHUNK = 1024
"""Rows encoded at a time, so that what one step writes is still in the cache for the next."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """What was learned from a window; a pure function of its rows, whatever codes they carried."""

    scaler: Scaler
    indicators: NDArray[np.int32]
    """[I] the number columns that carry a missing indicator."""
    categories: tuple[tuple[str, ...], ...]
    """For each category field the values with a slot of their own, in slot order."""
    missing_slots: tuple[bool, ...]
    """For each category field, whether missing values have a slot of their own; else they are unseen."""

    @classmethod
    def fit(
        cls,
        schema: Schema,
        numbers: NDArray[np.float64],
        codes: NDArray[np.int32],
        values: Sequence[Sequence[str]],
        options: FeatureOptions,
    ) -> Self:
        """Learn from a window's rows.

        `numbers` is [n, N] and `codes` [n, C] in schema order; ``values[field][code]`` is the dictionary
        that the codes belong to.
        """
        if (numbers.shape[1], codes.shape[1]) != (len(schema.numbers), len(schema.categories)):
            message = (
                f"rows of {numbers.shape[1]} numbers and {codes.shape[1]} categories do not fit the schema"
            )
            raise ValueError(message)
        return cls(
            scaler=Scaler.fit(numbers, options.scaling),
            indicators=np.flatnonzero(np.isnan(numbers).any(axis=0)).astype(np.int32),
            categories=tuple(
                _frequent(codes[:, field], values[field], options) for field in range(codes.shape[1])
            ),
            missing_slots=tuple(bool(flag) for flag in (codes == MISSING_CODE).any(axis=0)),
        )

    @property
    def column_field(self) -> NDArray[np.int32]:
        """[D] for each encoded column the index of its field in ``schema.features``."""
        numbers = len(self.scaler.centre)
        parts = [np.arange(numbers, dtype=np.int32), self.indicators]
        parts += [np.full(size, numbers + i, np.int32) for i, size in enumerate(self._block_sizes())]
        return np.concatenate(parts)

    @property
    def width(self) -> int:
        """D, the number of encoded columns."""
        return len(self.scaler.centre) + len(self.indicators) + sum(self._block_sizes())

    def _block_sizes(self) -> list[int]:
        """The number of columns of each category field."""
        return [
            len(slots) + 1 + missing
            for slots, missing in zip(self.categories, self.missing_slots, strict=True)
        ]

    def bind(self, values: Sequence[Sequence[str]]) -> BoundEncoder:
        """Tie the slots to the codes of one process; ``values[field][code]`` is its dictionary."""
        start = len(self.scaler.centre) + len(self.indicators)
        tables = []
        for field, size in enumerate(self._block_sizes()):
            tables.append(start + self._slots(field, values[field]))
            start += size
        return BoundEncoder(self, tuple(tables))

    def _slots(self, field: int, values: Sequence[str]) -> NDArray[np.int64]:
        """[values + 2] slot of code -1, 0, 1 … and, last, of every code that came later."""
        place = {value: slot for slot, value in enumerate(self.categories[field])}
        unseen = len(place)
        missing = unseen + 1 if self.missing_slots[field] else unseen
        # code 0 stands for values that the dictionary does not hold, whatever text is written there
        known = [place.get(value, unseen) for value in values[1:]]
        return np.array([missing, unseen, *known, unseen], dtype=np.int64)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays of an artifact."""
        return {
            "heavy": self.scaler.heavy.astype(np.uint8),
            "unit": self.scaler.unit,
            "centre": self.scaler.centre,
            "factor": self.scaler.factor,
            "indicators": self.indicators,
        }

    def meta(self) -> dict[str, Any]:
        """The JSON-able part of an artifact."""
        return {
            "limit": self.scaler.limit,
            "categories": [list(slots) for slots in self.categories],
            "missing_slots": list(self.missing_slots),
        }

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:
        """The encoder that wrote `meta` and `tensors`."""
        scaler = Scaler(
            heavy=tensors["heavy"].astype(np.bool_),
            unit=np.asarray(tensors["unit"], np.float64),
            centre=np.asarray(tensors["centre"], np.float64),
            factor=np.asarray(tensors["factor"], np.float64),
            limit=float(meta["limit"]),
        )
        return cls(
            scaler=scaler,
            indicators=np.asarray(tensors["indicators"], np.int32),
            categories=tuple(tuple(slots) for slots in meta["categories"]),
            missing_slots=tuple(bool(flag) for flag in meta["missing_slots"]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class BoundEncoder:
    """An encoder that knows one process's category codes."""

    encoder: Encoder
    _tables: tuple[NDArray[np.int64], ...]
    """For each category field, code + 1 -> encoded column; the last entry is for codes not yet known."""

    def encode(self, numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Encode rows ([n, N] and [n, C]) to [n, D]; every value is finite, each row stands for itself."""
        out = np.zeros((len(numbers), self.encoder.width), dtype=np.float32)
        for start in range(0, len(numbers), CHUNK):
            part = slice(start, start + CHUNK)
            self._encode(numbers[part], codes[part], out[part])
        return out

    def _encode(
        self, numbers: NDArray[np.float64], codes: NDArray[np.int32], out: NDArray[np.float32]
    ) -> None:
        """Encode one chunk into zeros."""
        count = numbers.shape[1]
        self.encoder.scaler.apply(numbers, out[:, :count])
        indicators = self.encoder.indicators
        if len(indicators):
            out[:, count : count + len(indicators)] = np.isnan(numbers[:, indicators])
        rows = np.arange(len(out))
        for field, table in enumerate(self._tables):
            out[rows, table[np.minimum(codes[:, field] + 1, len(table) - 1)]] = 1.0


def _frequent(codes: NDArray[np.int32], values: Sequence[str], options: FeatureOptions) -> tuple[str, ...]:
    """The values of one field [n] that are worth a slot: most frequent first, ties by value."""
    counts = np.bincount(codes[codes > 0], minlength=1)
    frequent = np.flatnonzero(counts >= options.min_count)
    ranked = sorted((-int(counts[code]), values[code]) for code in frequent.tolist() if code > 0)
    return tuple(value for _, value in ranked[: options.max_categories])
