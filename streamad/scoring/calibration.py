"""From scores to tail probabilities that mean the same thing under every model.

A score is compared with a reference of recent records that no member was trained on. The p-value is the
share of the reference that scores higher, counted as in conformal prediction (Vovk et al. 2005: k of R higher
gives (k + 1) / (R + 1)), so that whatever the scores look like, records like those of the reference fall under
a threshold as often as the threshold says. Between two reference scores it is interpolated; above all of them
it goes on falling slowly, which keeps the order and claims little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamad.models.rarity import mean_excess, shares_above

SMALLEST = 1e-12
"""The least p-value that is ever given."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A reference, as a function from scores to p-values."""

    scores: NDArray[np.float64]
    """The reference's distinct scores, ascending."""
    shares: NDArray[np.float64]
    """The p-value of each. Of m equal scores half count as higher, so that a flood of one record, once it is
    in the reference, is rare no more."""
    scale: float
    """How far above the highest score the p-value has fallen to half."""

    @classmethod
    def fit(cls, reference: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> Calibration:
        """Fit to R ≥ 1 finite scores, in any order, each of which stands for `weights` [R] rows, by default for one."""
        scores, shares = shares_above(reference, weights)
        spread = mean_excess(reference, len(reference) if weights is None else float(weights.sum()))
        return cls(scores, shares, spread if spread > 0 else max(abs(float(scores[-1])), 1.0) * 1e-3)

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n] the probability that a record like those of the reference scores this high, in (0, 1]."""
        p: NDArray[np.float64] = np.interp(scores, self.scores, self.shares, left=1.0)
        beyond = np.maximum(scores - self.scores[-1], 0.0)
        p *= self.scale / (self.scale + beyond)
        return np.clip(p, SMALLEST, 1.0, out=p)


def threshold_for(budget: float | str, records_per_hour: float | None) -> float:
    """The p-value under which a record is an alert, for a share or an hourly ("20/h") budget."""
    if isinstance(budget, float):
        return budget
    if not records_per_hour:
        return 0.001  # an hourly budget before the feed's rate is known: start modestly
    return float(min(float(budget.removesuffix("/h")) / records_per_hour, 0.5))
