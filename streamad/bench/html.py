"""Reports as one HTML page each with its figures inside, that needs nothing else."""

from __future__ import annotations

import math
from html import escape

from streamad.bench.grid import Figure, Grid

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


def document(title: str, heading: str, subtitle: str, body: str) -> str:
    """A whole page; `body` is HTML, the others are text."""
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(heading)}</h1><p>{escape(subtitle)}</p>{body}</body></html>\n"
    )


def table(grid: Grid) -> str:
    """The grid's numbers; where one was published it stands below, and ours is green where it is at least that."""
    head = "".join(f"<th>{escape(method)}</th>" for method in grid.methods)
    lines = "".join(
        f"<tr{' class=mean' if line.is_mean else ''}><th>{escape(line.label)}</th>"
        f"{''.join(_cell(grid, one) for one in line.figures)}</tr>"
        for line in grid.lines
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{lines}</tbody></table>"


def axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Ends and ticks of an axis that holds all values: about six ticks at round numbers."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-3) / 3))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 7)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return first * step, last * step, [round(step * tick, 6) for tick in range(first, last + 1)]


def _cell(grid: Grid, one: Figure | None) -> str:
    if one is None:
        return "<td></td>"
    win = " class='win'" if one.published is not None and one.ours >= one.published else ""
    ours = grid.spread(one.ours, one.std)
    theirs = (
        "" if one.published is None else f"<small>{grid.spread(one.published, one.published_std)}</small>"
    )
    return f"<td{win} title='{escape(one.note, quote=True)}'>{ours}{theirs}</td>"
