"""All cells of a choice of tables, over some processes, the finished ones kept."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from streamad.bench.papers.datasets import file_of
from streamad.bench.papers.entries import Entry
from streamad.bench.papers.evaluate import Cell, Outcome, evaluate
from streamad.bench.papers.kept import Kept
from streamad.bench.papers.methods import METHODS
from streamad.bench.papers.tables import TABLES, Setting, Table
from streamad.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to run; an empty choice of data sets or methods means all that the tables have."""

    tables: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int | None = None
    """In place of each table's own number."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One cell that is done."""

    cell: Cell
    outcome: Outcome | TrainingError
    """The error where the method failed on this data set; the other cells go on."""
    was_kept: bool


_Computed = Generator[tuple[Cell, Outcome | TrainingError], None, None]


def cells_of(choice: Choice) -> list[Cell]:
    """The cells of a choice in the order of the tables, without the methods whose package is not installed."""
    return [
        cell
        for name in choice.tables
        for dataset in _datasets(TABLES[name], choice)
        for cell in _cells(TABLES[name], dataset, choice)
    ]


def run(
    cells: Sequence[Cell], folder: Path, kept: Kept, jobs: int, on_done: Callable[[Finished], None]
) -> dict[Cell, Outcome]:
    """Compute the cells that were not kept, the largest data sets first, and say each as it is done.

    With one job all runs in this process, else in spawned ones, with one thread each in either case.
    Raises `UserError` where a data set's file is missing.
    """
    outcomes: dict[Cell, Outcome] = {}

    def done(cell: Cell, outcome: Outcome | TrainingError, *, was_kept: bool) -> None:
        if isinstance(outcome, Outcome):
            outcomes[cell] = outcome
            if not was_kept:
                kept.keep(cell, outcome)
        on_done(Finished(cell, outcome, was_kept))

    open_cells = []
    for cell in cells:
        found = kept.find(cell)
        if found is None:
            open_cells.append(cell)
        else:
            done(cell, found, was_kept=True)
    open_cells.sort(key=lambda cell: -file_of(folder, cell.dataset).stat().st_size)
    with contextlib.closing(_computed(open_cells, folder, jobs)) as computed:
        for cell, outcome in computed:
            done(cell, outcome, was_kept=False)
    return {cell: outcomes[cell] for cell in cells if cell in outcomes}


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
    if table.name != "pollution" or setting.families:
        return True
    return entry.labels != ("ignored" if setting.labels else "needed")


def _computed(cells: Sequence[Cell], folder: Path, jobs: int) -> _Computed:
    if jobs == 1 or len(cells) < 2:
        yield from _here(cells, folder)
    else:
        yield from _elsewhere(cells, folder, jobs)


def _here(cells: Sequence[Cell], folder: Path) -> _Computed:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            for cell in cells:
                yield cell, _attempt(cell, folder)
    finally:
        torch.set_num_threads(threads)


def _elsewhere(cells: Sequence[Cell], folder: Path, jobs: int) -> _Computed:
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _prepare)
    try:
        with _deaf_to_interrupts():
            futures = {pool.submit(_attempt, cell, folder): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        # A cell may take minutes that nobody waits for any more.
        workers = set(multiprocessing.active_children()) - others
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()
        raise
    pool.shutdown()


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C, also during their imports: the parent hears it and stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _prepare() -> None:
    """In a new process: one thread."""
    torch.set_num_threads(1)
    threadpool_limits(1)


def _attempt(cell: Cell, folder: Path) -> Outcome | TrainingError:
    try:
        return evaluate(cell, folder)
    except TrainingError as error:
        return error
