"""``streamad bench papers``: the papers' tables, published figures beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamad.bench.papers.datasets import FILES, file_of
from streamad.bench.papers.evaluate import Outcome
from streamad.bench.papers.grid import grids_of
from streamad.bench.papers.kept import Kept
from streamad.bench.papers.methods import METHODS
from streamad.bench.papers.page import page
from streamad.bench.papers.report import as_json, rows_of
from streamad.bench.papers.run import Choice, cells_of, run
from streamad.bench.papers.tables import TABLES
from streamad.commands.bench_runs import (
    complain,
    data_folder,
    following,
    kept_path,
    known,
    made_on,
    say_skipped,
)
from streamad.commands.grids import show_grid
from streamad.commands.running import check_target, write_result
from streamad.errors import UserError

if TYPE_CHECKING:
    import argparse

    from streamad.bench.papers.evaluate import Cell
    from streamad.bench.papers.run import Done


def papers(args: argparse.Namespace) -> int:
    """Run the chosen cells of the tables, those that an earlier run has not finished, and show them all."""
    choice = _choice(args)
    folder = data_folder(args)
    cells = cells_of(choice)
    if not cells:
        raise UserError("no method runs on these data sets in these tables")
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        file_of(folder, dataset)
    for target in (args.json, args.html):
        check_target(target)
    _say_skipped(choice)
    failures: list[Done] = []
    with following(cells, _said, failures) as on_done:
        outcomes = run(cells, folder, Kept(kept_path(args), folder), args.jobs, on_done)
    rows = rows_of(outcomes)
    grids = grids_of(rows)
    for grid in grids:
        show_grid(grid)
    if args.json is not None:
        write_result(args.json, as_json(rows))
    if args.html is not None:
        legend = "under each of our figures the published one, green where ours is at least that"
        write_result(args.html, page(grids, f"{made_on(args.jobs)}; {legend}"))
    complain(failures, len(cells), _place)
    return 0


def _choice(args: argparse.Namespace) -> Choice:
    """What is asked for. Raises `UserError` for a name that does not exist."""
    tables = tuple(known("table", args.table, TABLES)) or tuple(TABLES)
    methods = dict.fromkeys(name for table in tables for name in METHODS[table])
    return Choice(
        tables,
        tuple(known("data set", args.datasets, FILES)),
        tuple(known("method", args.methods, methods)),
        args.seeds,
    )


def _say_skipped(choice: Choice) -> None:
    missing: dict[str, set[str]] = {}
    for table in choice.tables:
        for name, entry in METHODS[table].items():
            if not entry.installed and name in (choice.methods or METHODS[table]):
                missing.setdefault(entry.package, set()).add(name)
    say_skipped(missing)


def _place(cell: Cell) -> str:
    return f"{cell.method} on {cell.dataset}"


def _said(finished: Done) -> str:
    cell, outcome = finished.cell, finished.outcome
    place = " · ".join(filter(None, (cell.table, cell.dataset, cell.method)))
    if not isinstance(outcome, Outcome):
        return f"{place}: {outcome}"
    return f"{place}: {np.mean(outcome.values):.4g} ± {np.std(outcome.values):.2g} in {outcome.seconds:.1f} s"
