"""What README.md and ARCHITECTURE.md say of the papers' tables is what the kept run found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from streamad.bench.papers.report import Row, means_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "streamad" / "ARCHITECTURE.md").read_text(encoding="utf-8")
KEPT = [Row(**row) for row in json.loads((ROOT / "tests" / "benchmarks" / "papers.json").read_text())]
TOLD = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in re.search(r"\| table \| method \| sets .*?\n\n", ARCHITECTURE, re.DOTALL)[0].splitlines()[2:]
    if line
]


def means(table, method):
    return means_of([row for row in KEPT if (row.table, row.method) == (table, method)])


def spelled(table, value):
    """As a percentage with one digit, or as a share with three."""
    return "-" if value is None else f"{value:.{1 if 'table-6' in table else 3}f}"


@pytest.mark.parametrize(("table", "method", "sets", "mean", "development", "report", "published"), TOLD)
def test_the_means_of_the_architecture_are_those_of_the_kept_run(
    table, method, sets, mean, development, report, published
):
    found = means(table, method)
    values = (found.all, found.development, found.report, found.published)
    told = (mean, development, report, published)
    assert (sets, told) == (str(found.sets), tuple(spelled(table, value) for value in values))


@pytest.mark.parametrize(
    ("line", "table", "methods"),
    [
        ("Deep SAD {}, `Auto` {} | Deep SAD 93.2 | trees and neighbours {} |", "deep-sad-table-6", ("deep sad", "auto", "extratrees + knn ranks")),
        ("VAE {}, DP-VAE {}, MML-VAE {}, both {} | 90.6, 95.8, 96.1, 96.3 | trees and neighbours {} |", "dp-vae-table-6", ("vae", "dp-vae", "mml-vae", "mml-dp-vae", "extratrees + knn ranks")),
        ("AE-SAD {}, `Auto` {} | AE-SAD 0.936 | trees {} |", "ae-sad-table-2", ("ae-sad", "auto", "extratrees")),
        ("DAE with UAI {} | 0.623 | active trees {} |", "uainets-table-1", ("dae-uai", "active extratrees")),
    ],
)  # fmt: skip
def test_the_means_of_the_readme_are_those_of_the_kept_run(line, table, methods):
    values = (spelled(table, means(table, method).all) for method in methods)
    assert line.format(*values) in README
