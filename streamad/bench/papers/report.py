"""What was found beside what was published: rows for machines, means for people."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, Final

import numpy as np

from streamad.bench.papers.entries import ActiveEntry
from streamad.bench.papers.evaluate import Cell, Outcome
from streamad.bench.papers.halves import half_of
from streamad.bench.papers.methods import METHODS
from streamad.bench.papers.tables import PLAIN, TABLES

_HALVES: Final = ("development", "report")


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one data set, in one setting."""

    table: str
    dataset: str
    method: str
    seeds: int
    mean: float
    std: float
    """Over the seeds, around their own mean."""
    published_mean: float | None
    published_std: float | None
    """None where the paper has no such row, or gives no spread."""
    half: str
    metric: str
    setting: str
    """What `pollution` varies; else empty."""
    note: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Means:
    """A method's means over data sets; None where it ran on none of them."""

    sets: int
    """How many data sets `all` is over."""
    all: float | None
    development: float | None
    report: float | None
    published: float | None
    """Of the published figures, over the sets of `all` when they all have one."""


def rows_of(outcomes: Mapping[Cell, Outcome]) -> list[Row]:
    """A row for each cell, in their order."""
    return [_row(cell, outcome) for cell, outcome in outcomes.items()]


def as_json(rows: Sequence[Row]) -> str:
    """A JSON list with one row a line."""
    return "[\n" + ",\n".join(json.dumps(asdict(row)) for row in rows) + "\n]\n"


def means_of(rows: Sequence[Row]) -> Means:
    """Means over the data sets of one method's rows in one table and setting, without the sets set apart."""
    counted = [row for row in rows if row.dataset not in TABLES[row.table].outside_mean]
    halves = {half: _mean([row.mean for row in counted if row.half == half]) for half in _HALVES}
    return Means(
        sets=len(counted),
        all=_mean([row.mean for row in counted]),
        development=halves["development"],
        report=halves["report"],
        published=_mean([row.published_mean for row in counted]),
    )


@functools.cache
def published() -> Mapping[str, Mapping[str, Mapping[str, Sequence[float | None]]]]:
    """The papers' figures: table, method, data set, then mean and standard deviation (None where not given)."""
    text = files(__package__).joinpath("published.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _row(cell: Cell, outcome: Outcome) -> Row:
    mean, std = published().get(cell.table, {}).get(cell.method, {}).get(cell.dataset, (None, None))
    table = TABLES[cell.table]
    return Row(
        table=cell.table,
        dataset=cell.dataset,
        method=cell.method,
        seeds=len(outcome.values),
        mean=round(float(np.mean(outcome.values)), 6),
        std=round(float(np.std(outcome.values)), 6),
        published_mean=mean,
        published_std=std,
        half=half_of(cell.dataset),
        metric=_metric(cell),
        setting="" if cell.setting == PLAIN and len(table.settings) == 1 else str(cell.setting),
        note=outcome.note,
        seconds=round(outcome.seconds, 2),
    )


def _metric(cell: Cell) -> str:
    if isinstance(METHODS[cell.table][cell.method], ActiveEntry):
        return "F1"
    return "recall of unknown families %" if cell.setting.families else TABLES[cell.table].metric


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, or None where a value is lacking."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
