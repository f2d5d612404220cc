"""The report as one HTML page with its figures inside, that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from streamad.bench.grid import Grid, Line
from streamad.bench.html import axis, document, table

_LEFT, _WIDTH, _STEP, _TOP = 190, 860, 24, 30


def page(grids: Sequence[Grid], subtitle: str) -> str:
    """The whole page; `subtitle` says in one line when and on what it ran."""
    body = "".join(_section(grid) for grid in grids)
    return document("streamad bench papers", "streamad beside the published figures", subtitle, body)


def figure(grid: Grid) -> str:
    """An SVG: for each method a dot a line, its mean, and the mean that was published."""
    order = sorted(range(len(grid.methods)), key=lambda column: -(_centre(grid, column) or 0))
    values = [f.ours for line in grid.lines for f in line.figures if f]
    values += [f.published for line in grid.lines for f in line.figures if f and f.published is not None]
    low, high, ticks = axis(min(values), max(values))
    bottom = _TOP + _STEP * len(order)

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - 30)

    parts = [f"<svg viewBox='0 0 {_WIDTH} {bottom + 34}' role='img' aria-label='{escape(grid.title)}'>"]
    for tick in ticks:
        at = f"{x(tick):.1f}"
        parts.append(f"<line class='grid' x1='{at}' x2='{at}' y1='{_TOP - 10}' y2='{bottom}'/>")
        parts.append(f"<text class='axis' x='{at}' y='{bottom + 16}' text-anchor='middle'>{tick:g}</text>")
    parts.append(
        f"<text class='axis' x='{_WIDTH - 30}' y='{bottom + 31}' text-anchor='end'>{escape(grid.metric)}</text>"
    )
    for place, column in enumerate(order):
        y = _TOP + _STEP * place + 6
        name = escape(grid.methods[column])
        parts.append(f"<text x='{_LEFT - 12}' y='{y + 4}' text-anchor='end'>{name}</text>")
        parts += _marks(grid, column, x, y)
    return "".join([*parts, "</svg>"])


def _section(grid: Grid) -> str:
    return (
        f"<h2>{escape(grid.title)} <small>({escape(grid.name)}, {escape(grid.metric)})</small></h2>"
        f"<figure>{figure(grid)}<figcaption>Small dots: one {'data set' if _mean_line(grid) else 'setting'} each. "
        "Large dot: our mean. Ring: the published mean over the same sets.</figcaption></figure>"
        f"<div class='wide'>{table(grid)}</div>"
    )


def _marks(grid: Grid, column: int, x: Callable[[float], float], y: float) -> Iterable[str]:
    for line in grid.lines:
        one = line.figures[column]
        if one is not None and not line.is_mean:
            label = escape(f"{line.label}: {grid.text(one.ours)}", quote=True)
            yield f"<circle class='set' cx='{x(one.ours):.1f}' cy='{y}' r='3.5'><title>{label}</title></circle>"
    centre, theirs = _centre(grid, column), _published(grid, column)
    if centre is not None:
        yield f"<circle class='ours' cx='{x(centre):.1f}' cy='{y}' r='6'/>"
    if theirs is not None:
        yield f"<circle class='theirs' cx='{x(theirs):.1f}' cy='{y}' r='8'/>"


def _mean_line(grid: Grid) -> Line | None:
    return next((line for line in grid.lines if line.is_mean), None)


def _centre(grid: Grid, column: int) -> float | None:
    """A method's mean over the data sets, or over the settings where the lines are settings."""
    line = _mean_line(grid)
    if line is not None:
        one = line.figures[column]
        return None if one is None else one.ours
    known = [line.figures[column] for line in grid.lines]
    values = [one.ours for one in known if one is not None]
    return sum(values) / len(values) if values else None


def _published(grid: Grid, column: int) -> float | None:
    line = _mean_line(grid)
    one = None if line is None else line.figures[column]
    return None if one is None else one.published
