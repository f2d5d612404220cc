"""The report as one HTML page with its figures inside, that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from streamad.bench.papers.grid import Figure, Grid, Line

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #66717f; --line: #d9dee5; --page: #fff; --dot: #8fa3bd;
  --ours: #1f5fbf; --theirs: #c2571a; --win: #1c7c43; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #98a3b3; --line: #343d4a; --page: #14181e;
  --dot: #5c7088; --ours: #6ea8ff; --theirs: #f0965a; --win: #62c98b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 1280px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p, figcaption { color: var(--soft); max-width: 75ch; } figure { margin: 0; }
svg { width: 100%; max-width: 860px; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg .axis { fill: var(--soft); }
svg .grid { stroke: var(--line); } svg .set { fill: var(--dot); fill-opacity: .55; } svg .ours { fill: var(--ours); }
svg .theirs { fill: none; stroke: var(--theirs); stroke-width: 2; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child { text-align: left; white-space: nowrap; } thead th { color: var(--soft); font-weight: 600; }
td { white-space: nowrap; } td small { display: block; color: var(--soft); } .mean { font-weight: 600; }
.win { color: var(--win); }
"""

_LEFT, _WIDTH, _STEP, _TOP = 190, 860, 24, 30


def page(grids: Sequence[Grid], subtitle: str) -> str:
    """The whole page; `subtitle` says in one line when and on what it ran."""
    body = "".join(_section(grid) for grid in grids)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>streamad bench papers</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head><body>"
        f"<h1>streamad beside the published figures</h1><p>{escape(subtitle)}</p>{body}</body></html>\n"
    )


def figure(grid: Grid) -> str:
    """An SVG: for each method a dot a line, its mean, and the mean that was published."""
    order = sorted(range(len(grid.methods)), key=lambda column: -(_centre(grid, column) or 0))
    values = [f.ours for line in grid.lines for f in line.figures if f]
    values += [f.published for line in grid.lines for f in line.figures if f and f.published is not None]
    low, high, ticks = _axis(min(values), max(values))
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
        f"<div class='wide'>{_table(grid)}</div>"
    )


def _table(grid: Grid) -> str:
    head = "".join(f"<th>{escape(method)}</th>" for method in grid.methods)
    lines = "".join(
        f"<tr{' class=mean' if line.is_mean else ''}><th>{escape(line.label)}</th>"
        f"{''.join(_cell(grid, one) for one in line.figures)}</tr>"
        for line in grid.lines
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(grid: Grid, one: Figure | None) -> str:
    if one is None:
        return "<td></td>"
    win = " class='win'" if one.published is not None and one.ours >= one.published else ""
    ours = grid.spread(one.ours, one.std)
    theirs = (
        "" if one.published is None else f"<small>{grid.spread(one.published, one.published_std)}</small>"
    )
    return f"<td{win} title='{escape(one.note, quote=True)}'>{ours}{theirs}</td>"


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


def _axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Ends and ticks of an axis that holds all values: about six ticks at round numbers."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-3) / 3))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 7)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return first * step, last * step, [round(step * tick, 6) for tick in range(first, last + 1)]
