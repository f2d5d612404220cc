"""How rare a level of the score is: the scale on which levels of different detectors mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

KNOTS = 128
LIMIT = 12.0
"""No level is rarer than one record in 160,000, so that no score outweighs every label."""
_TAIL_SHARE, _TAIL_ROWS = 0.02, 30


@dataclass(frozen=True, slots=True, eq=False)
class Rarity:
    """Minus the logarithm of the share of held-out rows with a higher level, continued above all of them."""

    levels: NDArray[np.float64]
    """[Q] distinct levels, ascending."""
    values: NDArray[np.float64]
    """[Q] the rarity of each, ascending; between them it is interpolated."""
    slope: NDArray[np.float64]
    """[1] how fast it grows above the last: as if the levels there were exponentially distributed."""

    @classmethod
    def fit(cls, levels: NDArray[np.float64]) -> Self:
        """Learn from the levels [R] of R ≥ 1 rows."""
        distinct, shares = shares_above(levels)
        values = -np.log(shares)
        chosen = np.unique(np.searchsorted(values, np.linspace(values[0], values[-1], KNOTS)))
        excess = mean_excess(levels, len(levels))
        return cls(distinct[chosen], values[chosen], np.array([1 / excess if excess > 0 else 0.0]))

    def apply(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n] of levels [n]."""
        beyond = np.maximum(levels - self.levels[-1], 0.0)
        rarity: NDArray[np.float64] = np.interp(levels, self.levels, self.values) + self.slope * beyond
        return np.minimum(rarity, LIMIT, out=rarity)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays of an artifact."""
        return {"levels": self.levels, "rarities": self.values, "slope": self.slope}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """The rarity that wrote these tensors."""
        return cls(*(np.array(tensors[name], np.float64) for name in ("levels", "rarities", "slope")))


def shares_above(
    values: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distinct values [Q], ascending, and the share of rows above each, of equal ones half.

    Each of the values [R] stands for `weights` [R] rows, by default for one.
    """
    distinct, counts = _counted(values, weights)
    below = np.cumsum(counts)
    rows = float(below[-1])
    return distinct, (rows - below + (counts + 1) / 2) / (rows + 1)


def mean_excess(values: NDArray[np.float64], rows: float) -> float:
    """How far the highest of the values [R], which stand for so many `rows`, lie above the lowest of them on average."""
    highest = min(max(round(rows * _TAIL_SHARE), _TAIL_ROWS), len(values))
    top = np.partition(values, -highest)[-highest:]
    return float(top.mean() - top.min())


def _counted(
    reference: NDArray[np.float64], weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distinct scores, ascending, and how many rows have each."""
    if weights is None or (weights == 1).all():  # counting is six times as fast as adding up
        scores, counts = np.unique(reference, return_counts=True)
        return scores, counts.astype(np.float64)
    scores, place = np.unique(reference, return_inverse=True)
    return scores, np.bincount(place, weights).astype(np.float64)
