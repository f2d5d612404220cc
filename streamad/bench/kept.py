"""Finished cells on disk, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import sklearn
import torch

from streamad.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")
"""A cell: everything that a result depends on but code, data and libraries."""
R = TypeVar("R", bound="DataclassInstance")
"""What came out of it."""


class KeptCells(ABC, Generic[C, R]):
    """Results by everything that they depend on, one JSON object a line; a torn last line is as if not written."""

    def __init__(self, path: Path | None) -> None:
        """With no path nothing is kept beyond this object's life.

        Raises `UserError` where the path cannot be written.
        """
        self._path = path
        self._found = dict(self._entries(path)) if path is not None and path.is_file() else {}
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.open("ab").close()
            except OSError as error:
                raise UserError(f"finished cells cannot be kept in {path}: {error.strerror}") from None

    @abstractmethod
    def depends(self, cell: C) -> Mapping[str, Any]:
        """The code and the data that decide a cell's result."""

    @abstractmethod
    def read(self, entry: Mapping[str, Any]) -> R:
        """A result as it was kept. Raises `KeyError` or `TypeError` where it is none."""

    def find(self, cell: C) -> R | None:
        """The result of an earlier run of the same cell on the same data by the same code, if there is one."""
        return self._found.get(self._key(cell))

    def keep(self, cell: C, result: R) -> None:
        """Add one result. Raises `OSError` where the disk refuses."""
        key = self._key(cell)
        self._found[key] = result
        if self._path is None:
            return
        with self._path.open("a+b") as file:
            if file.tell() and not _ends_with_newline(self._path):
                file.write(b"\n")
            file.write(json.dumps({"key": json.loads(key), **asdict(result)}).encode() + b"\n")

    def _key(self, cell: C) -> str:
        return _canonical(
            asdict(cell)
            | dict(self.depends(cell))
            | {
                "numpy": np.__version__,
                "scikit-learn": sklearn.__version__,
                "torch": str(torch.__version__),
            }
        )

    def _entries(self, path: Path) -> Iterator[tuple[str, R]]:
        """The cells of a file, without lines that a crash cut short or that are no cells."""
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                yield _canonical(entry["key"]), self.read(entry)
            except (ValueError, KeyError, TypeError):
                continue


def _canonical(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def _ends_with_newline(path: Path) -> bool:
    return path.read_bytes().endswith(b"\n")
