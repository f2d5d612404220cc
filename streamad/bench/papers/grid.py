"""A table as people read it: a line for each data set and its means, a column for each method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamad.bench.grid import Figure, Grid, Line
from streamad.bench.papers.report import Means, Row, means_of
from streamad.bench.papers.tables import TABLES


def grids_of(rows: Sequence[Row]) -> list[Grid]:
    """A grid for each table and metric that the rows have, in their order."""
    found = []
    for table, metric in dict.fromkeys((row.table, row.metric) for row in rows):
        taken = [row for row in rows if (row.table, row.metric) == (table, metric)]
        methods = tuple(dict.fromkeys(row.method for row in taken))
        lines = _settings(taken, methods) if taken[0].setting else _sets(taken, methods)
        found.append(Grid(table, TABLES[table].title, metric, methods, tuple(lines)))
    return found


def _settings(rows: Sequence[Row], methods: Sequence[str]) -> Iterable[Line]:
    """A line for each setting: the means over the data sets."""
    for setting in dict.fromkeys(row.setting for row in rows):
        taken = [[r for r in rows if (r.setting, r.method) == (setting, method)] for method in methods]
        means = [means_of(own) for own in taken]
        yield Line(setting, tuple(_mean(m.all, None, m) for m in means))


def _sets(rows: Sequence[Row], methods: Sequence[str]) -> Iterable[Line]:
    """A line for each data set, then the means over all, and over the halves."""
    by_place = {(row.dataset, row.method): row for row in rows}
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    for dataset in datasets:
        yield Line(
            _label(rows[0].table, dataset), tuple(_figure(by_place.get((dataset, m))) for m in methods)
        )
    means = [means_of([row for row in rows if row.method == method]) for method in methods]
    yield Line("mean", tuple(_mean(m.all, m.published, m) for m in means), is_mean=True)
    yield Line("development half", tuple(_mean(m.development, None, m) for m in means), is_mean=True)
    yield Line("report half", tuple(_mean(m.report, None, m) for m in means), is_mean=True)


def _label(table: str, dataset: str) -> str:
    return f"{dataset} (apart)" if dataset in TABLES[table].outside_mean else dataset


def _figure(row: Row | None) -> Figure | None:
    if row is None:
        return None
    return Figure(row.mean, row.std, row.published_mean, row.published_std, row.note)


def _mean(value: float | None, published: float | None, means: Means) -> Figure | None:
    return None if value is None else Figure(value, None, published, None, f"over {means.sets} sets")
