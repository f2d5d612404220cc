"""Finished cells on disk, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

from streamad.bench.papers.datasets import digest, file_of
from streamad.bench.papers.evaluate import Cell, Outcome
from streamad.bench.papers.methods import METHODS
from streamad.errors import UserError


class Kept:
    """Outcomes by everything that they depend on, one JSON object a line; a torn last line is as if not written."""

    def __init__(self, path: Path | None, data: Path) -> None:
        """With no path nothing is kept beyond this object's life.

        Raises `UserError` where the path cannot be written.
        """
        self._path, self._data = path, data
        self._found = dict(_entries(path)) if path is not None and path.is_file() else {}
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.open("ab").close()
            except OSError as error:
                raise UserError(f"finished cells cannot be kept in {path}: {error.strerror}") from None

    def find(self, cell: Cell) -> Outcome | None:
        """The outcome of an earlier run of the same cell on the same data by the same code, if there is one."""
        return self._found.get(self._key(cell))

    def keep(self, cell: Cell, outcome: Outcome) -> None:
        """Add one outcome. Raises `OSError` where the disk refuses."""
        key = self._key(cell)
        self._found[key] = outcome
        if self._path is None:
            return
        with self._path.open("a+b") as file:
            if file.tell() and not _ends_with_newline(self._path):
                file.write(b"\n")
            file.write(json.dumps({"key": json.loads(key), **asdict(outcome)}).encode() + b"\n")

    def _key(self, cell: Cell) -> str:
        return _canonical(
            asdict(cell)
            | {
                "code": METHODS[cell.table][cell.method].code,
                "data": digest(file_of(self._data, cell.dataset)),
                "numpy": np.__version__,
                "scikit-learn": sklearn.__version__,
                "torch": str(torch.__version__),
            }
        )


def _canonical(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def _entries(path: Path) -> Iterator[tuple[str, Outcome]]:
    """The cells of a file, without lines that a crash cut short or that are no cells."""
    for line in path.read_bytes().splitlines():
        try:
            cell = json.loads(line)
            yield _canonical(cell["key"]), Outcome(tuple(cell["values"]), cell["note"], cell["seconds"])
        except (ValueError, KeyError, TypeError):
            continue


def _ends_with_newline(path: Path) -> bool:
    return path.read_bytes().endswith(b"\n")
