"""Scaling of plain number columns, fitted on the rows that are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from streamad.estimators import files

Kind = Literal["standard", "minmax", "none"]

LIMIT = 1e12
"""Scaled values are held within plus or minus this, so that squares of what a network makes of them stay finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """``(x - centre) * factor``, a column each."""

    centre: NDArray[np.float64]
    factor: NDArray[np.float64]

    @classmethod
    def fit(cls, x: NDArray[np.float64], kind: Kind) -> Self:
        """Learn from rows [n, D]; a constant column keeps its scale.

        Raises `ValueError` where values are so large that their spread is not finite.
        """
        if kind == "none":
            return cls(np.zeros(x.shape[1]), np.ones(x.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):
            if kind == "minmax":
                centre, spread = x.min(0), np.ptp(x, 0)
            else:
                centre, spread = x.mean(0), x.std(0)
        if not np.isfinite(spread).all():
            raise ValueError(
                f"the values in column {np.argmin(np.isfinite(spread))} of X are too large to be scaled"
            )
        # of equal values a mean rounds, and their deviation is that rounding error
        constant = (x == x[0]).all(0) | (spread < np.finfo(np.float64).tiny)
        return cls(centre, 1 / np.where(constant, 1.0, spread))

    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scale rows [n, D]."""
        with np.errstate(over="ignore"):
            scaled = (x - self.centre) * self.factor
        return np.clip(scaled, -LIMIT, LIMIT, out=scaled).astype(np.float32)

    def arrays(self) -> files.Arrays:
        """What `restore` needs."""
        return {"scaling.centre": self.centre, "scaling.factor": self.factor}

    @classmethod
    def restore(cls, arrays: files.Arrays, width: int) -> Self:
        """The one that gave the arrays. Raises `ValueError` or `KeyError` where they do not fit D = `width`."""
        centre, factor = (files.array(arrays, f"scaling.{name}", (width,)) for name in ("centre", "factor"))
        return cls(centre, factor)
