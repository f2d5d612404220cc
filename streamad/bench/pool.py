"""Cells of a benchmark over some processes, the finished ones kept."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from threadpoolctl import threadpool_limits

from streamad.errors import TrainingError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from streamad.bench.kept import KeptCells

C = TypeVar("C", bound="DataclassInstance")
R = TypeVar("R", bound="DataclassInstance")

Attempt = Callable[[C], R]
"""Computes a cell, in whichever process. Raises `TrainingError` where the method fails on it."""


@dataclass(frozen=True, slots=True)
class Finished(Generic[C, R]):
    """One cell that is done."""

    cell: C
    outcome: R | TrainingError
    """The error where the method failed on this data; the other cells go on."""
    was_kept: bool


def run_cells(
    cells: Sequence[C],
    attempt: Attempt[C, R],
    kept: KeptCells[C, R],
    jobs: int,
    on_done: Callable[[Finished[C, R]], None],
    size: Callable[[C], float] = lambda _cell: 0,
) -> dict[C, R]:
    """Compute the cells that were not kept, the largest by `size` first, and say each as it is done.

    With one job all runs in this process, else in spawned ones, with one thread each in either case.
    """
    results: dict[C, R] = {}

    def done(finished: Finished[C, R]) -> None:
        if not isinstance(finished.outcome, TrainingError):
            results[finished.cell] = finished.outcome
            if not finished.was_kept:
                kept.keep(finished.cell, finished.outcome)
        on_done(finished)

    open_cells = []
    for cell in cells:
        found = kept.find(cell)
        if found is None:
            open_cells.append(cell)
        else:
            done(Finished(cell, found, was_kept=True))
    open_cells.sort(key=lambda cell: -size(cell))
    with contextlib.closing(_computed(open_cells, attempt, jobs)) as computed:
        for cell, outcome in computed:
            done(Finished(cell, outcome, was_kept=False))
    return {cell: results[cell] for cell in cells if cell in results}


def _computed(
    cells: Sequence[C], attempt: Attempt[C, R], jobs: int
) -> Generator[tuple[C, R | TrainingError], None, None]:
    if jobs == 1 or len(cells) < 2:
        yield from _here(cells, attempt)
    else:
        yield from _elsewhere(cells, attempt, jobs)


def _here(cells: Sequence[C], attempt: Attempt[C, R]) -> Generator[tuple[C, R | TrainingError], None, None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            for cell in cells:
                yield cell, _tried(attempt, cell)
    finally:
        torch.set_num_threads(threads)


def _elsewhere(
    cells: Sequence[C], attempt: Attempt[C, R], jobs: int
) -> Generator[tuple[C, R | TrainingError], None, None]:
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _prepare)
    try:
        with _deaf_to_interrupts():
            futures = {pool.submit(_tried, attempt, cell): cell for cell in cells}
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


def _tried(attempt: Attempt[C, R], cell: C) -> R | TrainingError:
    try:
        return attempt(cell)
    except TrainingError as error:
        return error
