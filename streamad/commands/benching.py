"""``streamad bench papers``: the papers' tables, published figures beside ours."""

from __future__ import annotations

import os
import platform
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamad.bench.papers.datasets import FILES, file_of
from streamad.bench.papers.evaluate import Outcome
from streamad.bench.papers.grid import grids_of
from streamad.bench.papers.kept import Kept
from streamad.bench.papers.methods import METHODS
from streamad.bench.papers.page import page
from streamad.bench.papers.report import as_json, rows_of
from streamad.bench.papers.run import Choice, Finished, cells_of, run
from streamad.bench.papers.tables import TABLES
from streamad.commands.grids import show_grid
from streamad.commands.running import check_target, write_result
from streamad.commands.screen import console, remark
from streamad.errors import TrainingError, UserError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from streamad.bench.papers.evaluate import Cell


def bench(args: argparse.Namespace) -> int:
    """Run the chosen cells of the tables, those that an earlier run has not finished, and show them all."""
    choice = _choice(args)
    folder = args.data or Path(os.environ.get("STREAMAD_DATA", "../shared/data"))
    cells = cells_of(choice)
    if not cells:
        raise UserError("no method runs on these data sets in these tables")
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        file_of(folder, dataset)
    for target in (args.json, args.html):
        check_target(target)
    _say_skipped(choice)
    failures: list[Finished] = []
    with _stopped_by_sigterm_too(), _progress(cells) as on_done:
        outcomes = run(cells, folder, Kept(_kept_path(args), folder), args.jobs, _both(on_done, failures))
    rows = rows_of(outcomes)
    grids = grids_of(rows)
    for grid in grids:
        show_grid(grid)
    if args.json is not None:
        write_result(args.json, as_json(rows))
    if args.html is not None:
        write_result(args.html, page(grids, _subtitle(args.jobs)))
    if failures:
        cell, error = failures[0].cell, failures[0].outcome
        raise TrainingError(
            f"{len(failures)} of {len(cells)} cells failed, first {cell.method} on {cell.dataset}: {error}"
        )
    return 0


def _choice(args: argparse.Namespace) -> Choice:
    """What is asked for. Raises `UserError` for a name that does not exist."""
    tables = tuple(_known("table", args.table, TABLES)) or tuple(TABLES)
    methods = dict.fromkeys(name for table in tables for name in METHODS[table])
    return Choice(
        tables,
        tuple(_known("data set", args.datasets, FILES)),
        tuple(_known("method", args.methods, methods)),
        args.seeds,
    )


def _known(what: str, names: Sequence[str], existing: Iterable[str]) -> Sequence[str]:
    existing = list(existing)
    for name in names:
        if name not in existing:
            raise UserError(f"there is no {what} {name!r}; there are {', '.join(existing)}")
    return names


def _say_skipped(choice: Choice) -> None:
    """One line for each package that is not installed."""
    missing: dict[str, set[str]] = {}
    for table in choice.tables:
        for name, entry in METHODS[table].items():
            if not entry.installed and name in (choice.methods or METHODS[table]):
                missing.setdefault(entry.package, set()).add(name)
    for package, names in missing.items():
        remark(
            f"{' and '.join(sorted(names))} left out: {package} is not installed (pip install streamad[bench])"
        )


def _kept_path(args: argparse.Namespace) -> Path | None:
    """Where finished cells are kept: in --cache, else beside the JSON file, else nowhere."""
    if args.cache is not None:
        return Path(args.cache) / "cells.jsonl"
    return None if args.json is None else Path(args.json).with_suffix(".cells.jsonl")


def _both(on_done: Callable[[Finished], None], failures: list[Finished]) -> Callable[[Finished], None]:
    def done(finished: Finished) -> None:
        if not isinstance(finished.outcome, Outcome):
            failures.append(finished)
        on_done(finished)

    return done


@contextmanager
def _stopped_by_sigterm_too() -> Iterator[None]:
    """SIGTERM does as Ctrl-C, so that it stops the other processes as well."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(cells: Sequence[Cell]) -> Iterator[Callable[[Finished], None]]:
    """A bar on a terminal, a line for each newly computed cell elsewhere; both on stderr."""
    screen = console(results=False)
    if not screen.is_terminal:
        yield _lines(len(cells))
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("", total=len(cells))
        yield lambda done: bar.update(task, advance=1, description=_said(done))


def _lines(total: int) -> Callable[[Finished], None]:
    count = 0

    def done(finished: Finished) -> None:
        nonlocal count
        count += 1
        if not finished.was_kept:
            remark(f"{count}/{total} {_said(finished)}")

    return done


def _said(finished: Finished) -> str:
    cell, outcome = finished.cell, finished.outcome
    place = " · ".join(filter(None, (cell.table, cell.dataset, cell.method)))
    if not isinstance(outcome, Outcome):
        return f"{place}: {outcome}"
    return f"{place}: {np.mean(outcome.values):.4g} ± {np.std(outcome.values):.2g} in {outcome.seconds:.1f} s"


def _subtitle(jobs: int) -> str:
    day = time.strftime("%d %B %Y", time.gmtime())
    return (
        f"{day}; {jobs} process(es) of one thread each on {os.cpu_count()} cores ({platform.machine()}); under each of "
        "our figures the published one, green where ours is at least that"
    )
