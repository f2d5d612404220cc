"""The values of the categorical fields and their codes: private to a process, bounded, rebuilt at each fit."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamad.records.batch import MISSING_CODE, OTHER_CODE

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_VALUE_BYTES = 256
"""A longer value is never admitted."""

MEAN_VALUE_BYTES = 64
"""A field is also full when its values take more than this times its capacity."""


class Tables(NamedTuple):
    """The dictionary's memory as the compiled decoder sees it, for C fields of `capacity` codes.

    `slots` is an open-addressing index over the codes, filled by the compiled decoder alone: `indexed` says
    up to which code. 0 is an empty slot, since code 0 (other) has no value.
    """

    arena: NDArray[np.uint8]
    """[C, bytes] the UTF-8 bytes of the values, one behind the other in code order."""
    bounds: NDArray[np.int64]
    """[C, capacity + 1] the value of code c is ``arena[field, bounds[field, c] : bounds[field, c + 1]]``."""
    first_seen: NDArray[np.int64]
    """[C, capacity] the record number that first brought the value."""
    counts: NDArray[np.int64]
    """[C] codes in use, 0 included."""
    slots: NDArray[np.int32]
    """[C, power of two] hash slot -> code."""
    indexed: NDArray[np.int64]
    """[C] codes below this one are in `slots`."""
    seed: NDArray[np.uint64]
    """[1] start of the hashes: feeds are hostile, so nobody outside may know it. It decides no result."""

    @classmethod
    def empty(cls, fields: int, capacity: int) -> Tables:
        """Tables that hold no values; memory is only touched as values come."""
        slots = 1 << (2 * capacity - 1).bit_length()
        return cls(
            arena=np.empty((fields, capacity * MEAN_VALUE_BYTES + MAX_VALUE_BYTES), np.uint8),
            bounds=np.zeros((fields, capacity + 1), np.int64),
            first_seen=np.zeros((fields, capacity), np.int64),
            counts=np.ones(fields, np.int64),
            slots=np.zeros((fields, slots), np.int32),
            indexed=np.ones(fields, np.int64),
            seed=np.frombuffer(os.urandom(8), np.uint64),
        )


class Dictionary:
    """Per categorical field, the values seen and their int32 codes: -1 missing, 0 other (not held).

    Every value remembers the number of the record that first brought it, so that reading the window again
    after a crash gives exactly the codes' values of the run that was not interrupted. Whoever rebuilds the
    dictionary decodes again what was read ahead under the old `generation`. Thread-safe.
    """

    def __init__(self, fields: Sequence[str], capacity: int = 16_384) -> None:
        self.fields = tuple(fields)
        self.capacity = max(2, capacity)
        self.generation = 0
        self.lock = threading.RLock()
        """Held while a block is decoded: codes and generation belong together."""
        self.tables = Tables.empty(len(self.fields), self.capacity)
        self._codes: list[dict[str, int]] = [{} for _ in self.fields]
        self._rebuilt = self.tables.counts.copy()
        """[C] codes below this one were there when the generation began."""

    def extent(self, before: int) -> tuple[int, int]:
        """The generation, and how many values `state` gives: while both stand still, so does all of it."""
        with self.lock:
            return self.generation, sum(len(self._saved(field, before)) for field in range(len(self.fields)))

    def values(self, field: int) -> list[str]:
        """The values of a field; the index is the code, and code 0 (other) is the empty string."""
        with self.lock:
            return [self._value(field, code) for code in range(int(self.tables.counts[field]))]

    def code(self, field: int, value: str, record: int | None = None, *, learn: bool = False) -> int:
        """The code of a value that record number `record` brought; admits it when `learn` is set.

        Without `learn`, a value first seen after `record` is other. With ``record=None`` every held value
        has its code.
        """
        with self.lock:
            code = self._index(field).get(value, OTHER_CODE)
            if code and record is not None and not learn and record < self.tables.first_seen[field, code]:
                return OTHER_CODE
            if code == OTHER_CODE and learn and record is not None:
                return self._admit(field, value, record)
            return code

    def rebuild(
        self, codes: NDArray[np.int32], keep: Sequence[Sequence[str]], min_count: int
    ) -> list[NDArray[np.int32]]:
        """Begin a new generation; returns per field the new code of every old one, see `remap`.

        `codes` [n, C] is the window. Held are the values of `keep` (what the new artifact was fitted on, in
        that order), then the other values that the window has at least `min_count` times, most frequent
        first, up to half the capacity. Table ``t`` of a field: ``t[old + 1]`` is the new code.
        """
        with self.lock:
            held = [
                self._retained(field, codes[:, field], keep[field], min_count)
                for field in range(len(self.fields))
            ]
            old = [self.values(field) for field in range(len(self.fields))]
            self._clear()
            for field, values in enumerate(held):
                for value, first_seen in values.items():
                    self._admit(field, value, first_seen)
            self._rebuilt = self.tables.counts.copy()
            self.generation += 1
            return [self._remap_table(field, values) for field, values in enumerate(old)]

    def state(self, before: int) -> dict[str, Any]:
        """JSON-able, in code order: the values of the last rebuild, and those that records below `before` brought.

        Values that were read ahead come again. Those of the rebuild do not: the artifact knows them, also where
        it was fitted on records that are only scored later (the first one is).
        """
        with self.lock:
            fields = {}
            for field, name in enumerate(self.fields):
                codes = self._saved(field, before)
                fields[name] = {
                    "values": [self._value(field, code) for code in codes.tolist()],
                    "first_seen": self.tables.first_seen[field, codes].tolist(),
                    "rebuilt": int(self._rebuilt[field]),
                }
            return {"generation": self.generation, "fields": fields}

    @classmethod
    def from_state(
        cls, fields: Sequence[str], state: Mapping[str, Any], capacity: int = 16_384
    ) -> Dictionary:
        """The dictionary that `state` was taken from; fields that it does not know start empty."""
        made = cls(fields, capacity)
        made.generation = int(state["generation"])
        for field, name in enumerate(made.fields):
            saved: Mapping[str, Any] = state["fields"].get(name, {"values": (), "first_seen": ()})
            for value, first_seen in zip(saved["values"], saved["first_seen"], strict=True):
                made._admit(field, value, int(first_seen))
            made._rebuilt[field] = saved.get("rebuilt", 1)
        return made

    def _saved(self, field: int, before: int) -> NDArray[np.int64]:
        """The codes that belong into `state`, ascending."""
        codes: NDArray[np.int64] = np.arange(1, self.tables.counts[field])
        saved: NDArray[np.bool_] = codes < self._rebuilt[field]
        kept: NDArray[np.int64] = codes[saved | (self.tables.first_seen[field, codes] < before)]
        return kept

    def _value(self, field: int, code: int) -> str:
        start, end = self.tables.bounds[field, code : code + 2]
        return self.tables.arena[field, start:end].tobytes().decode()

    def _index(self, field: int) -> dict[str, int]:
        """The codes by value, after taking over what the compiled decoder admitted."""
        codes = self._codes[field]
        for code in range(len(codes) + 1, int(self.tables.counts[field])):
            codes[self._value(field, code)] = code
        return codes

    def _admit(self, field: int, value: str, record: int) -> int:
        tables, encoded = self.tables, value.encode()
        code = int(tables.counts[field])
        start = int(tables.bounds[field, code])
        end = start + len(encoded)
        too_long = not encoded or len(encoded) > MAX_VALUE_BYTES
        if too_long or code == self.capacity or end > self.capacity * MEAN_VALUE_BYTES:
            return OTHER_CODE
        codes = self._index(field)
        if value in codes:
            return codes[value]
        tables.arena[field, start:end] = np.frombuffer(encoded, np.uint8)
        tables.bounds[field, code + 1] = end
        tables.first_seen[field, code] = record
        tables.counts[field] = code + 1
        codes[value] = code
        return code

    def _retained(
        self, field: int, window: NDArray[np.int32], keep: Sequence[str], min_count: int
    ) -> dict[str, int]:
        """Value -> first_seen of what the next generation holds, in its code order."""
        old, first_seen = self._index(field), self.tables.first_seen[field]
        held = {value: int(first_seen[old[value]]) if value in old else 0 for value in keep}
        counts = np.bincount(window[window > OTHER_CODE], minlength=1)
        for code in np.argsort(-counts, kind="stable").tolist():
            if counts[code] < max(1, min_count) or len(held) >= self.capacity // 2:
                break
            held.setdefault(self._value(field, code), int(first_seen[code]))
        return held

    def _clear(self) -> None:
        self.tables.counts[:] = 1
        self.tables.indexed[:] = 1
        self.tables.slots[:] = 0
        self._codes = [{} for _ in self.fields]

    def _remap_table(self, field: int, old: Sequence[str]) -> NDArray[np.int32]:
        codes = self._index(field)
        new = [codes.get(value, OTHER_CODE) for value in old[1:]]
        return np.array([MISSING_CODE, OTHER_CODE, *new], np.int32)


def remap(codes: NDArray[np.int32], tables: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Codes [n, C] of the generation before, in the terms of the one that `Dictionary.rebuild` began."""
    if not tables:
        return codes
    return np.stack([table[codes[:, field] + 1] for field, table in enumerate(tables)], axis=1)
