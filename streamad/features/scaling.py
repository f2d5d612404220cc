"""How numeric columns are brought to one scale: fitted on a window, applied to any row by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROBUST_LIMIT = 3.0
"""Robustly scaled values are clipped here: farther out, one rare field would drown all others in the error."""

MINMAX_LIMIT = 1e6
"""Min-max values are not clipped for the model's sake, only kept where float32 squares stay finite."""

HEAVY_RATIO = 100.0
"""A column whose largest size exceeds its typical size by this factor is read on a logarithmic scale."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaler:
    """Turns numbers into ``clip((t - centre) * factor)`` with t the number or its signed logarithm."""

    heavy: NDArray[np.bool_]
    """[N] columns read as ``sign(x) * log1p(|x| / unit)``."""
    unit: NDArray[np.float64]
    """[N] the size below which the logarithm turns linear; 1 where `heavy` is not set."""
    centre: NDArray[np.float64]
    """[N] what is subtracted."""
    factor: NDArray[np.float64]
    """[N] what the difference is multiplied with; 1 for constant columns."""
    limit: float

    @classmethod
    def fit(cls, numbers: NDArray[np.float64], scaling: Literal["robust", "minmax"]) -> Scaler:
        """Learn the scale of each column from the window's rows [n, N]; NaN and infinity are left out."""
        known = np.where(np.isfinite(numbers), numbers, np.nan)
        columns = [column[~np.isnan(column)] for column in known.T]
        rows = [_robust(column) if scaling == "robust" else _minmax(column) for column in columns]
        table = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
        limit = ROBUST_LIMIT if scaling == "robust" else MINMAX_LIMIT
        return cls(table[:, 0] > 0, table[:, 1], table[:, 2], table[:, 3], limit)

    def apply(self, numbers: NDArray[np.float64], out: NDArray[np.float32]) -> None:
        """Scale rows [n, N] into `out`; a missing value becomes 0, the centre of its column."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = self._logarithms(numbers)
            scaled -= self.centre
            scaled *= self.factor
        missing = np.isnan(scaled)
        np.clip(scaled, -self.limit, self.limit, out=scaled)
        out[...] = scaled
        if missing.any():
            out[missing] = 0.0

    def middle(self) -> NDArray[np.float64]:
        """[N] the numbers that lie at the centre of their scale."""
        with np.errstate(over="ignore"):
            size = np.expm1(np.abs(self.centre)) * self.unit
        return np.where(self.heavy, np.copysign(size, self.centre), self.centre)

    def _logarithms(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """A copy of the rows with the heavy columns on their logarithmic scale."""
        values = numbers.copy()
        heavy = np.flatnonzero(self.heavy)
        if len(heavy):
            part = numbers[:, heavy]
            size = np.log1p(np.abs(part) / self.unit[heavy])
            values[:, heavy] = np.copysign(size, part)
        return values


def _robust(column: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """heavy, unit, centre and factor of one column's known values [n]."""
    if not len(column):
        return 0.0, 1.0, 0.0, 1.0
    size = np.abs(column)
    present = size[size > 0]
    typical = float(np.median(present)) if len(present) else 1.0
    heavy = len(present) > 0 and float(size.max()) > HEAVY_RATIO * typical
    # counts and bytes keep a unit of one; a column of tiny numbers would be linear all over with it
    unit = min(1.0, typical) if heavy else 1.0
    values = np.copysign(np.log1p(size / unit), column) if heavy else column
    centre, scale = _moments(values)
    return float(heavy), unit, centre, _factor(scale, centre)


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation, computed on a scale where squares cannot overflow."""
    top = float(np.abs(values).max()) or 1.0
    part = values / top
    return float(part.mean()) * top, float(part.std()) * top


def _minmax(column: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """heavy, unit, centre and factor of one column's known values [n]."""
    if not len(column):
        return 0.0, 1.0, 0.0, 1.0
    low = float(column.min())
    return 0.0, 1.0, low, _factor(float(column.max()) - low, low)


def _factor(scale: float, centre: float) -> float:
    """What brings `scale` to one; 1 where the spread is none beside the rounding of the centre."""
    if not np.isfinite(scale) or scale <= 1e-12 * max(1.0, abs(centre)) * (abs(centre) > 0) or scale == 0:
        return 1.0
    return 1.0 / scale
