"""Average precision over time, method beside method: as SVG for the page, and as a PNG."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streamad.bench.html import document, table
from streamad.bench.stream.evaluate import Cell, Outcome
from streamad.bench.stream.methods import OURS
from streamad.bench.stream.report import grid_of
from streamad.errors import StoreError, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOURS: Final = (
    "#1f5fbf", "#c2571a", "#1c7c43", "#8a4fbf", "#b5365a", "#7a6a12", "#1a8a94", "#6b6f76", "#d08a1d", "#4f7f2a",
)  # fmt: skip
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP = 860, 320, 46, 230, 14
_INCHES = 6.0, 3.6


@dataclass(frozen=True, slots=True)
class Panel:
    """One stream with one number of labels."""

    stream: str
    labels: int
    lines: Mapping[str, NDArray[np.float64]]
    """Method -> medians over the seeds in each piece of the stream, NaN where no seed has attacks; ours first."""
    outcomes: Mapping[Cell, Outcome]

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.stream}, {self.labels or 'no'} labels"


def panels_of(outcomes: Mapping[Cell, Outcome]) -> list[Panel]:
    """A panel for each stream and number of labels, in their order."""
    panels = []
    for stream, labels in dict.fromkeys((cell.stream, cell.labels) for cell in outcomes):
        taken = {c: o for c, o in outcomes.items() if (c.stream, c.labels) == (stream, labels)}
        methods = sorted(dict.fromkeys(cell.method for cell in taken), key=lambda name: name != OURS)
        lines = {name: _median([o for c, o in taken.items() if c.method == name]) for name in methods}
        panels.append(Panel(stream, labels, lines, taken))
    return panels


def page(panels: Sequence[Panel], subtitle: str) -> str:
    """The whole report as HTML."""
    body = "".join(
        f"<h2>{escape(panel.title)}</h2><figure>{figure(panel)}<figcaption>Average precision in each twentieth of "
        "the stream, medians over the seeds; a gap where a twentieth has no attacks.</figcaption></figure>"
        f"<div class='wide'>{table(grid_of(panel.outcomes))}</div>"
        for panel in panels
    )
    return document("streamad bench stream", "streamad and its peers on whole streams", subtitle, body)


def figure(panel: Panel) -> str:
    """An SVG with a line for each method, our own the widest."""
    parts = [
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{escape(panel.title, quote=True)}'>"
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(tick)
        parts.append(f"<line class='grid' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}'/>")
        parts.append(f"<text class='axis' x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{tick:g}</text>")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
        parts.append(
            f"<text class='axis' x='{x:.1f}' y='{_HEIGHT - 6}' text-anchor='middle'>{share:.0%}</text>"
        )
    for place, (name, values) in enumerate(panel.lines.items()):
        parts += _drawn(place, name, values)
    return "".join([*parts, "</svg>"])


def _drawn(place: int, name: str, values: NDArray[np.float64]) -> Iterable[str]:
    style = f"stroke:{_colour(place)};stroke-width:{_weight(name)};fill:none"
    for run in _runs(values):
        points = " ".join(f"{_x(i, len(values)):.1f},{_y(float(values[i])):.1f}" for i in run)
        yield f"<polyline style='{style};stroke-linecap:round' points='{points}'/>"
    y, x = _TOP + 6 + 18 * place, _WIDTH - _RIGHT + 16
    yield f"<line style='{style}' x1='{x}' x2='{x + 18}' y1='{y}' y2='{y}'/>"
    yield f"<text x='{x + 24}' y='{y + 4}'>{escape(name)}</text>"


def _runs(values: NDArray[np.float64]) -> list[list[int]]:
    """The places of values in a row, without those where there is none; a single one is drawn as a dot."""
    known = itertools.groupby(range(len(values)), key=lambda i: not np.isnan(values[i]))
    runs = [list(places) for there, places in known if there]
    return [run if len(run) > 1 else run * 2 for run in runs]


def _x(place: int, places: int) -> float:
    return _LEFT + (place + 0.5) / places * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float) -> float:
    return _HEIGHT - 28 - value * (_HEIGHT - 28 - _TOP)


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]


def _weight(name: str) -> float:
    return 3.0 if name == OURS else 1.4


def _median(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """Runs of places that hold a value; a single one twice, so that it is drawn as a dot."""
    curves = np.array([outcome.judgement.curve for outcome in outcomes], np.float64)  # [seeds, pieces]
    known = ~np.isnan(curves).all(axis=0)
    medians = np.full(curves.shape[1], np.nan)
    medians[known] = np.nanmedian(curves[:, known], axis=0)
    return medians


# ---- PNG -----------------------------------------------------------------------------------------


def check_png() -> None:
    """Raises `UserError` where the package that draws is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("--png needs matplotlib, which is not installed (pip install streamad[bench])")


def draw(panels: Sequence[Panel], target: Path) -> None:
    """Write all panels as one PNG: a row for each stream, a column for each number of labels.

    Raises `StoreError` where the file cannot be written.
    """
    streams = list(dict.fromkeys(panel.stream for panel in panels))
    labels = list(dict.fromkeys(panel.labels for panel in panels))
    size = (_INCHES[0] * len(labels), _INCHES[1] * len(streams))
    sheet = importlib.import_module("matplotlib.figure").Figure(figsize=size, layout="constrained")
    axes = sheet.subplots(len(streams), len(labels), squeeze=False, sharey=True)
    for spare in axes.flat:
        spare.set_axis_off()
    for panel in panels:
        _draw(axes[streams.index(panel.stream)][labels.index(panel.labels)], panel)
    try:
        sheet.savefig(target, dpi=110, format="png")
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from None


def _draw(axes: Any, panel: Panel) -> None:  # noqa: ANN401  # matplotlib may not be there to name it
    axes.set_axis_on()
    for place, (name, values) in enumerate(panel.lines.items()):
        middle = (np.arange(len(values)) + 0.5) / len(values)
        axes.plot(middle, values, color=_colour(place), linewidth=_weight(name), label=name, marker=".")
    axes.set(title=panel.title, xlabel="share of the stream", ylabel="average precision", ylim=(0, 1.02))
    axes.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
