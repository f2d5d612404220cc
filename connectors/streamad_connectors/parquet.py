"""Parquet files as NDJSON payloads, a slice of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
from polars import selectors as cs

from streamad.errors import InputError
from streamad.records.batch import Block, Cursor, Rejection
from streamad.records.parquet import json_columns
from streamad_connectors.lines import MARK_BYTES, fingerprint

_SLICE_ROWS = 1 << 16
_SLICE_BYTES = 64 << 20


class ParquetReader:
    """Blocks of one file; positions count rows from 1."""

    def __init__(self, path: Path, partition: str, cursor: Cursor | None) -> None:
        self._path, self._partition = path, partition
        self._mark = _file_mark(path)
        self._row = 0
        if cursor is not None:
            if cursor["head"] != self._mark:
                raise InputError(f"{path} changed behind row {cursor['line']}, where reading was to go on")
            self._row = cursor["line"]
        self._frame, self._total = self._scan()
        self._slice = pl.DataFrame()
        self._slice_from = 0
        self._slice_rows = 1  # as many as fit the bytes, once the size of a row is known

    def read(self, max_rows: int) -> Block | None:
        """The next block, full unless the file ends; None at its end."""
        if self._row >= self._total:
            return None
        rows = self._rows(max_rows)
        first, self._row = self._row, self._row + rows.height
        out = BytesIO()
        rows.write_ndjson(out)
        data = np.frombuffer(out.getbuffer(), np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        return Block(
            data=data,
            starts=np.concatenate(([0], ends[:-1] + 1)),
            ends=ends,
            offsets=np.arange(first + 1, self._row + 1),
            cursors={self._partition: self._cursor()},
            faults=_infinities(rows),
        )

    def share(self) -> float:
        """How much of the file has been read, 0 to 1."""
        return self._row / self._total if self._total else 1.0

    def close(self) -> None:
        """Forget the slice in memory; the file is not held open."""
        self._slice = pl.DataFrame()

    def _scan(self) -> tuple[pl.LazyFrame, int]:
        try:
            frame = pl.scan_parquet(self._path, glob=False)
            kept = frame.select(json_columns(frame.collect_schema()))
            return kept, int(frame.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._unreadable(error) from None

    def _rows(self, max_rows: int) -> pl.DataFrame:
        """The next rows, from the slice in memory where it holds them."""
        at = self._row - self._slice_from
        if at < 0 or at + max_rows > self._slice.height:
            try:
                self._slice = self._frame.slice(self._row, max(max_rows, self._slice_rows)).collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise self._unreadable(error) from None
            self._slice_from, at = self._row, 0
            row_bytes = self._slice.estimated_size() / max(1, self._slice.height) + 1
            self._slice_rows = min(_SLICE_ROWS, int(_SLICE_BYTES / row_bytes))
        return self._slice.slice(at, max_rows)

    def _cursor(self) -> Cursor:
        return {"line": self._row, "head": self._mark, "end": self._row >= self._total}

    def _unreadable(self, error: Exception) -> InputError:
        first_line = str(error).strip().splitlines()[0]
        return InputError(f"{self._path} cannot be read behind row {self._row} as Parquet ({first_line})")


def _infinities(rows: pl.DataFrame) -> dict[int, Rejection]:
    """JSON has no infinity: such a row is rejected here, where it can still be seen."""
    found: dict[int, Rejection] = {}
    for name, column in _floats(rows):
        infinite = column.is_infinite()
        if infinite.any():
            for row in infinite.arg_true():
                found.setdefault(row, Rejection("not_finite", name, "infinity"))
    return found


def _floats(rows: pl.DataFrame, prefix: str = "") -> Iterator[tuple[str, pl.Series]]:
    """(``a.b``, column) for the floats in the columns and, at any depth, in their structs."""
    for column in rows.select(cs.float() | cs.struct()):
        if column.dtype.is_float():
            yield prefix + column.name, column
        else:
            yield from _floats(column.struct.unnest(), f"{prefix}{column.name}.")


def _file_mark(path: Path) -> str:
    """A fingerprint of the file's size, head and footer."""
    with path.open("rb") as file:
        head = file.read(MARK_BYTES)
        size = file.seek(0, 2)
        file.seek(max(0, size - MARK_BYTES))
        return fingerprint(str(size).encode() + head + file.read(MARK_BYTES))
