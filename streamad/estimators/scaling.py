"""Scaling of plain number columns, fitted on the rows that are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """``(x - centre) * factor``, a column each."""

    centre: NDArray[np.float64]
    factor: NDArray[np.float64]

    @classmethod
    def fit(cls, x: NDArray[np.float64], kind: Literal["standard", "minmax", "none"]) -> Self:
        """Learn from rows [n, D]; a constant column keeps its scale."""
        if kind == "none":
            return cls(np.zeros(x.shape[1]), np.ones(x.shape[1]))
        if kind == "minmax":
            centre, spread = x.min(0), np.ptp(x, 0)
        else:
            centre, spread = x.mean(0), x.std(0)
        spread[spread <= np.finfo(np.float64).eps * np.abs(centre)] = 1.0
        return cls(centre, 1 / spread)

    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scale rows [n, D]."""
        scaled: NDArray[np.float32] = ((x - self.centre) * self.factor).astype(np.float32)
        return scaled
