"""deploy/SIZING.md: its sizes follow from its figures by its formulae."""

from __future__ import annotations

import math
import re

import pytest
from deploy_help import DEPLOY

TEXT = (DEPLOY / "SIZING.md").read_text(encoding="utf-8")
RATE, RECORD_BYTES, COMMITS, ROWS = 175_000, 843, 10, 100_000


def sizes():
    """The cells of the table of sizes, by records a second."""
    table = TEXT[TEXT.index("## Three sizes") :]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "|" in line]
    return {number: row[1:] for number, row in zip((10**4, 10**6, 10**8), rows[2:], strict=True)}


def megabytes(scorers):
    """What so many scorers take, at the measured figure."""
    (each,) = re.findall(r"memory of a scorer \| (\d+) MB", TEXT)
    return scorers * int(each)


def trainer_megabytes():
    ((fixed, row),) = re.findall(r"with a training under way: .* \| (\d+) MB and ([\d.]+) kB a row", TEXT)
    return int(fixed) + float(row) * ROWS / 1000


def spelled(number, units):
    """A number in the unit that leaves it below a thousand, with two or three digits."""
    for unit in units:
        if number < 999:
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"
        number /= 1000
    raise AssertionError(number)


@pytest.mark.parametrize("records", [10**4, 10**6, 10**8])
def test_sizes_follow_from_the_figures(records):
    scorers = max(2, math.ceil(1.5 * records / RATE))
    window = ROWS / min(records, RATE)
    volume = f"{records * RECORD_BYTES / 1e6:.1f} MB/s" if records < 10**5 else None
    found = sizes()[records]
    assert found[:2] == [f"{scorers:,}", f"{max(6, 2 * scorers):,}"]
    assert found[2] == (volume or f"{float(f'{records * RECORD_BYTES / 1e9:.2g}'):g} GB/s")
    assert found[3].split(" (")[0] == f"{scorers * COMMITS:,}"
    assert found[4] == spelled(megabytes(scorers), ("MB", "GB", "TB"))
    assert found[5] == spelled(trainer_megabytes(), ("MB", "GB"))
    assert found[6] == (f"{window:g} s" if window >= 1 else f"{window:.1f} s")
