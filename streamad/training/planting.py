"""Anomalies planted in normal rows: what a model finds of them tells how well it knows what is normal.

Losses and scores of two models do not compare, and most feeds have few labels; but whoever knows the normal traffic
better finds more of what does not belong. Three kinds: one number far away, a broken correlation, one odd category.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FAR = 3.0
"""A far number lies so many times the field's range (1 % to 99 %) outside of it, at most."""
_MIXED = 0.4
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
    """One number of each row lies beyond what the field usually is."""
    low, high = np.nan_to_num(
        np.nanquantile(np.vstack([numbers, np.zeros(numbers.shape[1])]), (0.01, 0.99), axis=0)
    )
    spread = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
    made = numbers[rows]
    field = random.integers(numbers.shape[1], size=len(rows))
    beyond = random.uniform(0, _FAR, len(rows)) * spread[field]
    up = (low[field] >= 0) | (random.random(len(rows)) < 0.5)  # a coin
    made[np.arange(len(rows)), field] = np.where(up, high[field] + beyond, low[field] - beyond)
    return Planted(made, codes[rows])


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
    """One category of each row is another value of that field, each as likely as any other."""
    made = codes[rows]
    field = random.integers(codes.shape[1], size=len(rows))
    for column in range(codes.shape[1]):
        values = np.unique(codes[:, column])
        here = np.flatnonzero(field == column)
        made[here, column] = random.choice(values, len(here))
    return Planted(numbers[rows], made)
