"""Finished cells of the papers' tables on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamad.bench.kept import KeptCells
from streamad.bench.papers.datasets import digest, file_of
from streamad.bench.papers.evaluate import Cell, Outcome
from streamad.bench.papers.methods import METHODS


class Kept(KeptCells[Cell, Outcome]):
    """Outcomes by their cells, the digest of the method's code and that of the data set's file."""

    def __init__(self, path: Path | None, data: Path) -> None:
        """`data` is the folder of the data sets. Raises `UserError` where the path cannot be written."""
        super().__init__(path)
        self._data = data

    def depends(self, cell: Cell) -> Mapping[str, Any]:
        """See `KeptCells.depends`."""
        code = METHODS[cell.table][cell.method].code
        return {"code": code, "data": digest(file_of(self._data, cell.dataset))}

    def read(self, entry: Mapping[str, Any]) -> Outcome:
        """See `KeptCells.read`."""
        return Outcome(tuple(entry["values"]), entry["note"], entry["seconds"])
