"""Anomalies planted in normal rows: what a model finds of them tells how well it knows what is normal.

Losses and scores of two models do not compare, and most feeds have few labels; but whoever knows the normal traffic
better finds more of what does not belong. Three kinds: a few numbers far away, a broken correlation, odd categories.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FAR, _FAR_FIELDS = 3.0, 3
"""A far number lies so many times the field's range (1 % to 99 %) above it, at most; so many fields have one."""
_MIXED = 0.5
"""The share of the fields that a row with a broken correlation has of another row."""


class Planted(NamedTuple):
    """m rows, a third of each kind."""

    numbers: NDArray[np.float64]
    """[m, N]."""
    codes: NDArray[np.int32]
    """[m, C]."""


def plant(numbers: NDArray[np.float64], codes: NDArray[np.int32], each: int, seed: int) -> Planted:
    """`each` anomalies of each kind, made of R ≥ 1 rows ([R, N], [R, C]); the same for the same arguments."""
    random = np.random.default_rng(seed)
    kinds = []
    if numbers.shape[1]:
        kinds.append(_far)
    if numbers.shape[1] + codes.shape[1] > 1:
        kinds.append(_mixed)
    if codes.shape[1]:
        kinds.append(_odd)
    parts = [kind(numbers, codes, random.integers(len(numbers), size=each), random) for kind in kinds]
    return Planted(np.concatenate([p.numbers for p in parts]), np.concatenate([p.codes for p in parts]))


def _far(
    numbers: NDArray[np.float64],
    codes: NDArray[np.int32],
    rows: NDArray[np.int64],
    random: np.random.Generator,
) -> Planted:
    """A few numbers of each row lie beyond what their fields usually are."""
    low, high = np.nan_to_num(_quantiles(numbers))
    spread = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
    made = numbers[rows]
    for _ in range(_FAR_FIELDS):
        field = random.integers(numbers.shape[1], size=len(rows))
        made[np.arange(len(rows)), field] = high[field] + random.uniform(0, _FAR, len(rows)) * spread[field]
    return Planted(made, codes[rows])


def _quantiles(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2, N] what is usual of each field; NaN where all are missing."""
    out = np.full((2, numbers.shape[1]), np.nan)
    known = ~np.isnan(numbers).all(axis=0)
    out[:, known] = np.nanquantile(numbers[:, known], (0.01, 0.99), axis=0)
    return out


def _mixed(
    numbers: NDArray[np.float64],
    codes: NDArray[np.int32],
    rows: NDArray[np.int64],
    random: np.random.Generator,
) -> Planted:
    """Some fields of each row are those of another row: each is usual, together they are not."""
    others = random.integers(len(numbers), size=len(rows))
    taken = [random.random((len(rows), table.shape[1])) < _MIXED for table in (numbers, codes)]
    return Planted(
        np.where(taken[0], numbers[others], numbers[rows]), np.where(taken[1], codes[others], codes[rows])
    )


def _odd(
    numbers: NDArray[np.float64],
    codes: NDArray[np.int32],
    rows: NDArray[np.int64],
    random: np.random.Generator,
) -> Planted:
    """About half of each row's categories are other values of their fields, each as likely as any other."""
    made = codes[rows]
    for column in range(codes.shape[1]):
        odd = random.random(len(rows)) < _MIXED
        made[odd, column] = random.choice(np.unique(codes[:, column]), int(odd.sum()))
    return Planted(numbers[rows], made)
