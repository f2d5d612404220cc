"""A benchmark's table on the screen, as many methods side by side as the screen is wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from streamad.commands.screen import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamad.bench.grid import Figure, Grid

_LABEL_WIDTH = 28
_COLUMN_WIDTH = 16


def show_grid(grid: Grid) -> None:
    """Under each figure of ours the published one, where there is one; green where ours is at least that."""
    out = console()
    at_once = max(1, (out.width - _LABEL_WIDTH) // _COLUMN_WIDTH)
    for first in range(0, len(grid.methods), at_once):
        out.print()
        out.print(_table(grid, range(first, min(first + at_once, len(grid.methods)))))


def _table(grid: Grid, columns: Sequence[int]) -> Table:
    table = Table(title=f"{grid.title} · {grid.metric}", title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(grid.methods[column], justify="right", max_width=_COLUMN_WIDTH - 3)
    for place, line in enumerate(grid.lines):
        if line.is_mean and not grid.lines[place - 1].is_mean:
            table.add_section()
        cells = (_cell(grid, line.figures[column]) for column in columns)
        table.add_row(line.label, *cells, style="bold" if line.is_mean else None)
    return table


def _cell(grid: Grid, figure: Figure | None) -> Text:
    if figure is None:
        return Text("")
    text = Text(grid.spread(figure.ours, figure.std))
    if figure.published is not None:
        if figure.ours >= figure.published:
            text.stylize("green")
        text.append("\n" + grid.spread(figure.published, figure.published_std), style="dim")
    return text
