"""How often records alert beside how often they should, and what that does to the threshold.

The reference is long, so that a burst does not change it; the hour of the day and episodes of odd but harmless records
move scores faster. So the threshold is the budget over the rate that the budget has had lately (as in adaptive
conformal inference, Gibbs and Candès, NeurIPS 2021). A flood is alerted and not corrected for: records among which far
more alert than should say nothing, and no more than a certain share of all records is corrected away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

_BLOCK = 512
"""So many records are judged at once, however batches are cut."""
_FLOOD, _FEW = 8.0, 3
"""A block is of a flood if so many times the alerts that were meant are there, and so many more."""
_MEMORY = 3000
"""Records after which what was seen counts for a third."""
_DOUBT = 3.0
"""It counts as much as that as many alert as were meant, where so many were meant in the memory."""
_CORRECTED = 0.02
"""The share of all records by which alerts are corrected at most: three times a budget of 1 %, 1.4 times one of 5 %."""


@dataclass(frozen=True, slots=True)
class AlertRate:
    """What is kept of it."""

    ratio: float = 1.0
    """So many times what was meant alerted lately, or would have if the threshold were the budget itself."""
    records: int = 0
    """Of the block that is not full yet."""
    alerts: int = 0
    meant: float = 0.0
    """How many of them should alert."""
    uncorrected: float = 0.0
    """How many would alert if the threshold were the budget itself."""

    def threshold(self, share: float) -> float:
        """The p-value under which a record is an alert, for a share of the records that may be."""
        meant = _MEMORY * share
        return share * (meant + _DOUBT) / (meant * _bounded(self.ratio, share) + _DOUBT)

    def after(self, alerted: NDArray[np.bool_], threshold: float, share: float) -> Self:
        """After more records [n], judged by a threshold where so large a share of them was meant."""
        now = self
        while len(alerted) and share > 0:
            part, alerted = np.split(alerted, [_BLOCK - now.records])
            alerts = int(part.sum())
            now = replace(
                now,
                records=now.records + len(part),
                alerts=now.alerts + alerts,
                meant=now.meant + share * len(part),
                uncorrected=now.uncorrected + alerts * share / threshold,
            )
            if now.records == _BLOCK:
                now = type(self)(now.learned())
        return now

    def learned(self) -> float:
        """What the ratio is after a block that is full."""
        if self.alerts > _FLOOD * self.meant + _FEW:
            return self.ratio
        weight = 1 - math.exp(-_BLOCK / _MEMORY)
        moved = self.ratio + weight * (self.uncorrected / self.meant - self.ratio)
        return _bounded(moved, self.meant / _BLOCK)


def _bounded(ratio: float, share: float) -> float:
    most = 1 + _CORRECTED / max(share, np.finfo(float).tiny)
    return min(max(ratio, 1 / most), most)
