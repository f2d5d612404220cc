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
        rows = len(levels)
        distinct, counts = np.unique(levels, return_counts=True)
        shares = (rows - np.cumsum(counts) + (counts + 1) / 2) / (rows + 1)
        values = -np.log(shares)
        chosen = np.unique(np.searchsorted(values, np.linspace(values[0], values[-1], KNOTS)))
        highest = min(max(round(rows * _TAIL_SHARE), _TAIL_ROWS), rows)
        top = np.partition(levels, -highest)[-highest:]
        excess = float(top.mean() - top.min())
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
