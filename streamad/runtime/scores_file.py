"""`replay --scores`: what every record scored, in order, whatever happens to the process in between."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from streamad.errors import StateError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streamad.records.batch import Block
    from streamad.runtime.transaction import Scored

_ROW = np.dtype(
    [
        ("part", "<i4"),
        ("version", "<i4"),
        ("offset", "<i8"),
        ("score", "<f8"),
        ("p", "<f8"),
        ("probability", "<f8"),
    ]
)
_ROWS_AT_ONCE = 250_000


class ScoresFile:
    """Rows of fixed width beside the store, cut back to the last commit after a crash; Parquet at the end.

    A rejected record has its row too, with null scores. Memory does not grow with the number of records.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._parts_path = path, path.with_suffix(".parts")
        self._parts: dict[str, int] = {}

    def resume(self, records: int) -> None:
        """Go on after this many committed records; what lies behind them was never committed.

        Raises `StateError` where earlier records were replayed without scores.
        """
        if records and self._parts_path.exists():
            names = json.loads(self._parts_path.read_text(encoding="utf-8"))
            self._parts = {name: i for i, name in enumerate(names)}
        with self._path.open("ab") as file:
            if file.tell() < records * _ROW.itemsize:
                raise StateError("the replay was begun without --scores; --fresh --scores FILE starts anew")
            file.truncate(records * _ROW.itemsize)

    def append(self, records: int, batches: Sequence[Scored]) -> None:
        """Write the rows of a transaction behind `records` committed ones and sync them, before it is committed.

        Raises `StoreError` where the disk refuses.
        """
        try:
            self._append(records, batches)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}") from None

    def _append(self, records: int, batches: Sequence[Scored]) -> None:
        new = {name for scored in batches for name in _prefixes(scored.batch.block)} - self._parts.keys()
        if new:
            for name in sorted(new):
                self._parts[name] = len(self._parts)
            self._parts_path.write_text(json.dumps(list(self._parts)), encoding="utf-8")
        with self._path.open("r+b") as file:
            file.truncate(records * _ROW.itemsize)  # what is there may stem from a commit that was aborted
            file.seek(0, os.SEEK_END)
            for scored in batches:
                file.write(self._rows(scored).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def finish(self, target: Path) -> None:
        """Write position, score, p_value, anomaly_probability and version as Parquet, in record order.

        Raises `StoreError` where that fails; the same replay may then be called again for the file alone.
        """
        names = list(self._parts)
        rows = np.memmap(self._path, dtype=_ROW, mode="r") if self._path.stat().st_size else np.empty(0, _ROW)
        pieces = []
        try:
            for number, start in enumerate(range(0, max(len(rows), 1), _ROWS_AT_ONCE)):
                pieces.append(target.with_name(f".{target.name}.{number}"))
                _frame(rows[start : start + _ROWS_AT_ONCE], names).write_parquet(pieces[-1])
            pl.scan_parquet(pieces).sink_parquet(target)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StoreError(f"{target} cannot be written: {error}") from None
        finally:
            for piece in pieces:
                piece.unlink(missing_ok=True)

    def _rows(self, scored: Scored) -> np.ndarray[Any, Any]:
        block, scores = scored.batch.block, scored.scores
        rows = np.empty(len(block), _ROW)
        known = np.array([self._parts[name] for name in _prefixes(block)])
        rows["part"], rows["version"] = known[0 if block.parts is None else block.parts], scored.version
        rows["offset"], rows["score"], rows["p"] = block.offsets, scores.score, scores.p_value
        rows["probability"] = np.nan if scores.probability is None else scores.probability
        rows["probability"][np.isnan(scores.p_value)] = np.nan
        return rows


def _prefixes(block: Block) -> list[str]:
    """What stands before the offset in the positions of each partition."""
    return [partition + block.separator for partition in block.cursors]


def _frame(rows: np.ndarray[Any, Any], names: Sequence[str]) -> pl.DataFrame:
    parts = pl.Series(names, dtype=pl.String)
    return pl.DataFrame(
        {
            "position": parts.gather(rows["part"].astype(np.uint32)),
            "offset": np.ascontiguousarray(rows["offset"]),
            "score": np.ascontiguousarray(rows["score"]),
            "p_value": np.ascontiguousarray(rows["p"]),
            "anomaly_probability": np.ascontiguousarray(rows["probability"]),
            "version": np.ascontiguousarray(rows["version"]),
        }
    ).select(
        pl.concat_str("position", pl.col("offset").cast(pl.String)).alias("position"),
        pl.col("score", "p_value", "anomaly_probability").fill_nan(None),
        "version",
    )
