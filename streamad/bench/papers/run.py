"""All cells of a choice of tables, over some processes, the finished ones kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from streamad.bench.papers.datasets import file_of
from streamad.bench.papers.entries import Entry
from streamad.bench.papers.evaluate import Cell, Outcome, evaluate
from streamad.bench.papers.kept import Kept
from streamad.bench.papers.methods import METHODS
from streamad.bench.papers.tables import TABLES, Setting, Table
from streamad.bench.pool import Finished, run_cells


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to run; an empty choice of data sets or methods means all that the tables have."""

    tables: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int | None = None
    """In place of each table's own number."""


Done: TypeAlias = Finished[Cell, Outcome]
"""One cell that is done."""


def cells_of(choice: Choice) -> list[Cell]:
    """The cells of a choice in the order of the tables, without the methods whose package is not installed."""
    return [
        cell
        for name in choice.tables
        for dataset in _datasets(TABLES[name], choice)
        for cell in _cells(TABLES[name], dataset, choice)
    ]


def run(
    cells: Sequence[Cell], folder: Path, kept: Kept, jobs: int, on_done: Callable[[Done], None]
) -> dict[Cell, Outcome]:
    """Compute the cells that were not kept, those of the largest data sets first; see `run_cells`.

    Raises `UserError` where a data set's file is missing.
    """
    attempt = functools.partial(evaluate, folder=folder)
    return run_cells(
        cells, attempt, kept, jobs, on_done, lambda cell: file_of(folder, cell.dataset).stat().st_size
    )


def _datasets(table: Table, choice: Choice) -> list[str]:
    """The sets of a table that run: those named, or all but those that run only when they are named."""
    if not choice.datasets:
        return list(table.datasets)
    return [name for name in (*table.datasets, *table.apart) if name in choice.datasets]


def _cells(table: Table, dataset: str, choice: Choice) -> Iterator[Cell]:
    seeds = table.seeds_for(dataset) if choice.seeds is None else choice.seeds
    for setting in table.settings_for(dataset):
        for method, entry in METHODS[table.name].items():
            if _runs(method, entry, setting, table, choice):
                yield Cell(table.name, dataset, method, seeds, setting)


def _runs(method: str, entry: Entry, setting: Setting, table: Table, choice: Choice) -> bool:
    if not entry.installed or (choice.methods and method not in choice.methods):
        return False
    if table.name not in ("pollution", "few-labels") or setting.families:
        return True
    return entry.labels != ("ignored" if setting.labels or setting.given else "needed")
