"""``streamad bench stream``: whole streams with a simulated analyst, streamad beside its peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamad.bench.stream.curves import check_png, draw, page, panels_of
from streamad.bench.stream.evaluate import Outcome
from streamad.bench.stream.methods import METHODS
from streamad.bench.stream.report import grid_of
from streamad.bench.stream.run import Choice, as_json, cells_of, run
from streamad.bench.stream.streams import STREAMS
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

    from streamad.bench.stream.evaluate import Cell
    from streamad.bench.stream.run import Done


def stream(args: argparse.Namespace) -> int:
    """Play the chosen streams, those cells that an earlier run has not finished, and show all of them."""
    choice = _choice(args)
    cells = cells_of(choice)
    if not cells:
        raise UserError("none of these methods runs with these numbers of labels")
    if args.png is not None:
        check_png()
    for target in (args.json, args.html, args.png):
        check_target(target)
    _say_skipped(choice)
    failures: list[Done] = []
    with following(cells, _said, failures) as on_done:
        outcomes = run(cells, data_folder(args), kept_path(args), args.jobs, on_done)
    panels = panels_of(outcomes)
    for panel in panels:
        show_grid(grid_of(panel.outcomes))
    if args.json is not None:
        write_result(args.json, as_json(outcomes))
    if args.html is not None:
        write_result(args.html, page(panels, f"{made_on(args.jobs)}; {_terms(choice)}"))
    if args.png is not None:
        draw(panels, args.png)
    complain(failures, len(cells), _place)
    return 0


def _terms(choice: Choice) -> str:
    return (
        f"{choice.seeds} seed(s), a verdict {choice.delay:,} records after its question, {choice.wrong_labels:.0%} of "
        "them wrong; each record judged by the score that it got when it came"
    )


def _choice(args: argparse.Namespace) -> Choice:
    """What is asked for. Raises `UserError` for a name that does not exist."""
    return Choice(
        tuple(known("stream", args.streams, STREAMS)) or tuple(STREAMS),
        tuple(known("method", args.methods, METHODS)) or tuple(METHODS),
        tuple(dict.fromkeys(args.labels)),
        args.seeds,
        args.delay,
        args.wrong_labels,
        tuple(args.set),
    )


def _say_skipped(choice: Choice) -> None:
    missing: dict[str, set[str]] = {}
    for name in choice.methods:
        if not METHODS[name].installed:
            missing.setdefault(METHODS[name].package, set()).add(name)
    say_skipped(missing)


def _place(cell: Cell) -> str:
    return f"{cell.stream} · {cell.method} · {cell.labels} labels · seed {cell.seed}"


def _said(finished: Done) -> str:
    if not isinstance(finished.outcome, Outcome):
        return f"{_place(finished.cell)}: {finished.outcome}"
    found, seconds = finished.outcome.judgement, finished.outcome.seconds
    return f"{_place(finished.cell)}: {found.average_precision:.3f} in {seconds:.0f} s"
