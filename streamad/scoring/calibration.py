"""From scores to tail probabilities that mean the same thing under every model.

A score is compared with a reference: recent records that no member was trained on. Below the top
few percent the p-value is the reference's own share of higher scores; above, a generalised Pareto
tail goes on where the reference has too few records to count (Pickands-Balkema-de Haan; moments
as in Hosking & Wallis 1987, eq. 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TAIL_SHARE = 0.02
_TAIL_ROWS = 30
_SHAPE_RANGE = (-0.25, 0.45)
SMALLEST = 1e-12
"""The least p-value that is ever given."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A sorted reference and the tail fitted to it."""

    reference: NDArray[np.float64]
    """[R] ascending scores."""
    start: float
    """Where the fitted tail begins."""
    share: float
    """The share of the reference above `start`."""
    shape: float
    scale: float

    @classmethod
    def fit(cls, scores: NDArray[np.float64]) -> Calibration:
        """Fit to R ≥ 1 finite reference scores, in any order."""
        reference = np.sort(scores)
        rows = max(round(len(reference) * _TAIL_SHARE), min(_TAIL_ROWS, len(reference) // 4), 1)
        start = float(reference[-rows])
        excess = reference[-rows:] - start
        mean, variance = float(excess.mean()), float(excess.var())
        if mean <= 0 or variance <= 0:  # the top is one value: anything above it is simply rare
            return cls(
                reference, float(reference[-1]), 1 / (len(reference) + 1), 0.0, max(abs(start), 1.0) * 1e-3
            )
        shape = float(np.clip(0.5 * (1 - mean**2 / variance), *_SHAPE_RANGE))
        return cls(reference, start, rows / (len(reference) + 1), shape, mean * (1 - shape))

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n] probability that a record like those of the reference scores at least this high, in (0, 1]."""
        above = len(self.reference) - np.searchsorted(self.reference, scores, side="left")
        p = (above + 1) / (len(self.reference) + 1)
        tail = scores > self.start
        p[tail] = self.share * self._survival(scores[tail] - self.start)
        return np.clip(p, SMALLEST, 1.0)

    def _survival(self, excess: NDArray[np.float64]) -> NDArray[np.float64]:
        """The fitted tail; where it would end, it goes on exponentially behind the highest reference."""
        if abs(self.shape) < 1e-6:
            return np.exp(-excess / self.scale)
        top = self.reference[-1] - self.start if self.shape < 0 else np.inf
        seen = np.minimum(excess, top)
        rarest = 1 / (
            self.share * (len(self.reference) + 1) + 1
        )  # what the highest reference itself is worth
        base = np.maximum(1 + self.shape * seen / self.scale, rarest**-self.shape if self.shape < 0 else 0.0)
        survival: NDArray[np.float64] = base ** (-1 / self.shape) * np.exp(-(excess - seen) / self.scale)
        return survival


def threshold_for(budget: float | str, records_per_hour: float | None) -> float:
    """The p-value under which a record is an alert, for a share or an hourly ("20/h") budget."""
    if isinstance(budget, float):
        return budget
    if not records_per_hour:
        return 0.001  # an hourly budget before the feed's rate is known: start modestly
    return float(min(float(budget.removesuffix("/h")) / records_per_hour, 0.5))
