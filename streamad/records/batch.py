"""The units of all work: a `Block` of raw payloads from a source, and the `Batch` decoded from it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: A source's own, JSON-able place to go on from: opaque to everybody else.
Cursor = dict[str, Any]

MISSING_TIME = np.iinfo(np.int64).min
"""The value of `Batch.times` where a record has no event time."""

MISSING_CODE = -1
"""The category code of a missing value."""

OTHER_CODE = 0
"""The category code of a value that the dictionary does not hold (it is full, or dropped it)."""

ACCEPTED, REJECTED = 0, 1
"""The values of `Batch.status`."""


class Rejection(NamedTuple):
    """Why a payload could not become a record."""

    reason: str
    """A fixed code, see `REASONS`."""
    field: str | None = None
    detail: str = ""


#: Every reason a payload can be rejected for.
REASONS = (
    "bad_time",
    "duplicate_key",
    "empty",
    "framed",
    "invalid_json",
    "invalid_utf8",
    "not_a_boolean",
    "not_a_number",
    "not_an_object",
    "not_finite",
    "too_deep",
    "too_few_fields",
    "too_long",
    "too_many_fields",
    "unterminated_quote",
)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Raw payloads as a source hands them out, those of one partition in order.

    Payload ``i`` is ``data[starts[i]:ends[i]]`` without its line end. A partition's name is the part of the
    position before separator and offset: ``kdd.csv``, ``conn.log~3``, ``topic/2``.
    """

    cursors: dict[str, Cursor]
    """Where each partition that has rows here goes on after this block."""
    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    """[n] first byte of each payload in `data`."""
    ends: NDArray[np.int64]
    """[n] one past the last byte of each payload in `data`."""
    offsets: NDArray[np.int64]
    """[n] line numbers (from 1), row numbers or offsets."""
    parts: NDArray[np.int32] | None = None
    """[n] which partition each row is of, counted in the order of `cursors`; None where there is but one."""
    separator: str = ":"
    columns: tuple[str, ...] | None = None
    """The header in force, for CSV with a header."""
    faults: dict[int, Rejection] = field(default_factory=dict)
    """Rows that the source itself found unreadable (a line that is too long): row -> why."""
    lengths: dict[int, int] = field(default_factory=dict)
    """True length in bytes of the rows whose payload the source had to cut."""
    beside: dict[str, NDArray[np.int64] | Sequence[bytes | None]] = field(default_factory=dict)
    """[n] a field: what came beside the payloads and counts instead of what they say. Of the field with the word time,
    event times as in `Batch.times`, or text in UTF-8 as the schema has times; of the one with the word id, its text."""
    arrived: NDArray[np.int64] | None = None
    """[n] when each payload came, microseconds since 1970 UTC, `MISSING_TIME` where that is not known; None: now."""

    def __len__(self) -> int:
        return len(self.starts)

    def payload(self, row: int) -> bytes:
        """The bytes of one row."""
        return self.data[self.starts[row] : self.ends[row]].tobytes()

    def partition(self, row: int) -> str:
        """The partition of one row."""
        return tuple(self.cursors)[0 if self.parts is None else self.parts[row]]

    def position(self, row: int) -> str:
        """The identity of one row."""
        return f"{self.partition(row)}{self.separator}{self.offsets[row]}"

    def rows_of(self, partition: str) -> NDArray[np.bool_]:
        """[n] which rows are of a partition."""
        names = list(self.cursors)
        if self.parts is None or partition not in names:
            return np.full(len(self), partition in names)
        return np.equal(self.parts, names.index(partition))


@dataclass(slots=True, eq=False)
class Batch:
    """A decoded block: n rows, N numeric (and boolean) features, C categorical features.

    Rejected rows hold NaN and -1 and are skipped by everything that scores or learns.
    """

    block: Block
    numbers: NDArray[np.float64]
    """[n, N] numeric features, then booleans as 0/1, in schema order; NaN = missing."""
    codes: NDArray[np.int32]
    """[n, C] category codes of the decoder's dictionary; -1 = missing, 0 = not in the dictionary."""
    times: NDArray[np.int64]
    """[n] event time, microseconds since 1970 UTC; `MISSING_TIME` where there is none."""
    truth: NDArray[np.int8]
    """[n] the label column, for evaluation only: 1 anomaly, 0 normal, -1 none."""
    status: NDArray[np.uint8]
    """[n] `ACCEPTED` or `REJECTED`."""
    rejections: dict[int, Rejection]
    """row -> why, for exactly the rejected rows."""
    fast_rows: int
    """How many rows the compiled decoder read."""
    generation: int
    """The generation of the dictionary that `codes` belongs to."""
    unknown_fields: dict[str, int] = field(default_factory=dict)
    """Fields that the schema does not name, with the number of rows that had them."""
    first: int = 0
    """The record number of row 0 in the feed, from 0 (rejected rows count); set by the engine."""

    def __len__(self) -> int:
        return len(self.block)

    def identities(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """[m] what samples of these rows [m] go by: their record numbers.

        Rows of several partitions come in another order each time that they are read, and by other readers;
        theirs are made of partition and offset.
        """
        if self.block.parts is None:
            return self.first + rows
        names = np.array([zlib.crc32(name.encode()) for name in self.block.cursors], np.int64)
        return (names[self.block.parts[rows]] << 31) ^ self.block.offsets[rows]

    def arrivals(self, rows: NDArray[np.int64], now: int) -> NDArray[np.int64]:
        """When these rows [m] came, as far as their source knows; none after `now`: a wrong clock shall age no others."""
        arrived = self.block.arrived
        if arrived is None:
            return np.full(len(rows), now)
        return np.where(arrived[rows] == MISSING_TIME, now, np.minimum(arrived[rows], now))
