"""A sample of all records that a feed has had, thinner with age: what training remembers beyond its window."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from streamad.records.batch import ACCEPTED, MISSING_CODE, OTHER_CODE, Batch
from streamad.records.dictionary import remap
from streamad.state.artifacts import packed, unpacked
from streamad.state.holdout import draws, held_out

if TYPE_CHECKING:
    from streamad.records.schema import Schema

log = structlog.get_logger()

Values = tuple[tuple[str, ...], ...]
"""``values[field][code]`` of the dictionary."""

_SHARE = 4
"""At most one row of the past to so many of the window."""


@dataclass(frozen=True, slots=True, eq=False)
class PastRows:
    """n rows of the sample."""

    numbers: NDArray[np.float64]
    """[n, N] before scaling; NaN = missing."""
    codes: NDArray[np.int32]
    """[n, C] codes of the current dictionary generation."""
    records: NDArray[np.int64]
    """[n] record numbers, or what stands for them (`Batch.identities`)."""
    keys: NDArray[np.float64]
    """[n] the smallest stay."""

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: NDArray[np.int64]) -> PastRows:
        """Copies of some rows."""
        return PastRows(self.numbers[rows], self.codes[rows], self.records[rows], self.keys[rows])


class Past:
    """At most `capacity` rows out of all records but those that are held out.

    Each row has a key, a number drawn by the hash of its identity divided by its place in the feed, and the smallest
    keys stay (Duffield, Lund and Thorup's priority sampling). So the n-th record is in it with a chance in
    proportion to n: a quarter of the rows is of the older half of the feed, a hundredth of its oldest tenth. Which
    rows these are depends on the records alone, and not on when they were committed or read again.

    It is saved before more than `window` rows came since the last time: the others are in the window, which is
    read again after a restart.
    """

    def __init__(self, capacity: int, window: int, schema: Schema, seed: int) -> None:
        self._capacity, self._window, self._seed = min(capacity, window), window, seed
        self._names = json.dumps([schema.numbers, schema.categories]).encode()
        self._pieces: list[PastRows] = []  # the first one merged, the others since
        self._coming: list[PastRows] = []
        self._limit = np.inf if self._capacity else 0.0  # no key from here on can stay
        self._unsaved = self._unsaved_then = 0
        self._saved_at = 0
        self._empty = PastRows(
            np.empty((0, len(schema.numbers))),
            np.empty((0, len(schema.categories)), np.int32),
            np.empty(0, np.int64),
            np.empty(0),
        )

    # ---- with the commits ------------------------------------------------------------------------

    def prepare(
        self, batches: Sequence[Batch], records: int, values: Callable[[], Values]
    ) -> dict[str, bytes]:
        """Take the rows of a commit up to record number `records`, to keep them if `commit` follows.

        Returns what the checkpoint should hold of it, where it is time to save.
        """
        self._coming = [self._piece(batch) for batch in batches]
        self._unsaved_then = self._unsaved + sum(len(batch) - len(batch.rejections) for batch in batches)
        if not self._capacity or self._unsaved_then <= self._window:
            return {}
        self._unsaved_then = 0
        return {"past": self._packed(self._merged([*self._pieces, *self._coming]), records, values())}

    def commit(self) -> None:
        """What was prepared is committed."""
        self._add(self._coming)
        self._coming, self._unsaved = [], self._unsaved_then

    def remap(self, tables: Sequence[NDArray[np.int32]]) -> None:
        """Carry all rows over to a new dictionary generation, which is saved with the next commit."""
        self._pieces, self._coming = (
            [PastRows(p.numbers, remap(p.codes, tables), p.records, p.keys) for p in pieces]
            for pieces in (self._pieces, self._coming)
        )
        self._unsaved = self._window

    def restore(self, saved: bytes | None, values: Values) -> None:
        """Go on from what `prepare` gave to save. Raises `StateError` where it is none of that."""
        if saved is None or not self._capacity:
            return
        arrays = unpacked(saved)
        if arrays["names"].tobytes() != self._names:
            log.info("past_dropped", why="it has other fields than the schema")
            return
        self._saved_at = int(arrays["saved_at"][0])
        codes = _known(arrays["codes"], json.loads(arrays["values"].tobytes()), values)
        self._add([PastRows(arrays["numbers"], codes, arrays["records"], arrays["keys"])])
        self._settle()

    def again(self, batch: Batch) -> None:
        """Take a batch of the window that is read again: what is there already counts once."""
        self._add([self._piece(batch)])
        if batch.first >= self._saved_at:
            self._unsaved += len(batch) - len(batch.rejections)

    # ---- what training takes ---------------------------------------------------------------------

    def before(self, window: NDArray[np.int64]) -> PastRows:
        """The rows that are not of a window [n] of records, at most one to four of its rows, in record order."""
        self._settle()
        rows = self._pieces[0] if self._pieces else self._empty
        older = np.flatnonzero(~np.isin(rows.records, window))
        first = np.argsort(rows.keys[older], kind="stable")[: len(window) // _SHARE]
        return rows.take(older[np.sort(first)])

    def codes(self) -> NDArray[np.int32]:
        """[n, C] the codes of all rows: what a new dictionary generation counts."""
        return np.concatenate([self._empty.codes, *(piece.codes for piece in self._pieces)])

    # ---- pieces ----------------------------------------------------------------------------------

    def _piece(self, batch: Batch) -> PastRows:
        """The rows of a batch that may stay."""
        rows = np.flatnonzero(batch.status == ACCEPTED)
        records = batch.identities(rows)
        keys = draws(records, self._seed) / (batch.first + rows + 1)
        may = (keys < self._limit) & ~held_out(records, self._seed)
        rows = rows[may]
        return PastRows(batch.numbers[rows], batch.codes[rows], records[may], keys[may])

    def _add(self, pieces: Sequence[PastRows]) -> None:
        """Merge once there is as much again: half of it is copied for nothing otherwise."""
        self._pieces += pieces
        if sum(map(len, self._pieces)) > 2 * self._capacity:
            self._settle()

    def _settle(self) -> None:
        if self._pieces:
            self._pieces = [self._merged(self._pieces)]
            if len(self._pieces[0]) == self._capacity:
                self._limit = float(self._pieces[0].keys.max(initial=0))

    def _merged(self, pieces: Sequence[PastRows]) -> PastRows:
        """The rows that stay out of all of these, by record."""
        records, keys = (np.concatenate([getattr(p, name) for p in pieces]) for name in ("records", "keys"))
        _, once = np.unique(records, return_index=True)
        if len(once) > self._capacity:
            smallest = np.argsort(keys[once], kind="stable")[: self._capacity]
            once = once[np.sort(smallest)]
        numbers, codes = (np.concatenate([getattr(p, name) for p in pieces]) for name in ("numbers", "codes"))
        return PastRows(numbers[once], codes[once], records[once], keys[once])

    def _packed(self, rows: PastRows, records: int, values: Values) -> bytes:
        """All of it, codes counted among the values that are used and not as in the dictionary."""
        used = [np.unique(codes[codes > OTHER_CODE]) for codes in rows.codes.T]
        spelled = [[values[field][code] for code in codes.tolist()] for field, codes in enumerate(used)]
        own = rows.codes.copy()
        for field, codes in enumerate(used):
            own[:, field] = np.where(
                own[:, field] > OTHER_CODE, np.searchsorted(codes, own[:, field]) + 1, own[:, field]
            )
        return packed(
            {
                "numbers": rows.numbers,
                "codes": own,
                "records": rows.records,
                "keys": rows.keys,
                "saved_at": np.array([records]),
                "values": np.frombuffer(json.dumps(spelled).encode(), np.uint8),
                "names": np.frombuffer(self._names, np.uint8),
            }
        )


def _known(codes: NDArray[np.int32], spelled: Sequence[Sequence[str]], values: Values) -> NDArray[np.int32]:
    """Codes [n, C] of the values spelled out with them, in the terms of the dictionary."""
    index = [{value: code for code, value in enumerate(field) if code > OTHER_CODE} for field in values]
    return remap(
        codes,
        [
            np.array(
                [MISSING_CODE, OTHER_CODE, *(index[n].get(value, OTHER_CODE) for value in field)], np.int32
            )
            for n, field in enumerate(spelled)
        ],
    )
