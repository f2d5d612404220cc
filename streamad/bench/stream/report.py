"""What was found, for people: a table for each stream and number of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from streamad.bench.grid import Figure, Grid, Line
from streamad.bench.stream.evaluate import Cell, Outcome

MEASURES: Final = {
    "average precision": "average_precision",
    "AUROC": "auroc",
    "recall at 1 %": "recall_at_budget",
    "same, mean of families": "family_recall",
    "held-back families": "recall_unseen",
    "alert rate": "alert_rate",
}
"""Columns of the table, and what they are called in a judgement."""


def grid_of(outcomes: Mapping[Cell, Outcome]) -> Grid:
    """Medians and standard deviations over the seeds, the best average precision first.

    The outcomes are those of one stream and one number of labels.
    """
    methods = dict.fromkeys(cell.method for cell in outcomes)
    shown = {
        title: name
        for title, name in MEASURES.items()
        if any(getattr(outcome.judgement, name) is not None for outcome in outcomes.values())
    }
    lines = [
        _line(method, [o for c, o in outcomes.items() if c.method == method], shown.values())
        for method in methods
    ]
    lines.sort(key=lambda line: -(line.figures[0].ours if line.figures[0] else 0))
    cell = next(iter(outcomes))
    title = f"{cell.stream}, {cell.labels or 'no'} labels"
    return Grid(cell.stream, title, "medians over the seeds, second half", tuple(shown), tuple(lines))


def _line(method: str, outcomes: Sequence[Outcome], names: Iterable[str]) -> Line:
    families = np.median([outcome.judgement.families_found for outcome in outcomes])
    label = f"{method} (found {families:g})" if families else method
    return Line(label, tuple(_figure(outcomes, name) for name in names))


def _figure(outcomes: Sequence[Outcome], name: str) -> Figure | None:
    values = [getattr(outcome.judgement, name) for outcome in outcomes]
    if any(value is None for value in values):
        return None
    spread = float(np.std(values)) if len(values) > 1 else None
    return Figure(float(np.median(values)), spread, None, None)
