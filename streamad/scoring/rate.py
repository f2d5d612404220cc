"""How often records alert beside how often they should, and what that does to the threshold.

The reference is long, so that a burst does not change it; the hour of the day and episodes of odd but harmless records
move scores faster. So the threshold is the budget over the rate that the budget has had lately (as in adaptive
conformal inference, Gibbs and Candès, NeurIPS 2021), as far as chance might have it. What goes beyond is a flood, which
is alerted and not corrected for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

_MEMORY = 8000
"""Records after which what was seen counts for a third."""
_CHANCE = _MEMORY / 10
"""The bound is one standard deviation of a count in so many records, 1.35 times a budget of 1 %, 1.16 times one of 5 %."""
_MOST = 1.5
"""And it is never more than this: a burst would lose too many of its alerts."""


@dataclass(frozen=True, slots=True)
class AlertRate:
    """What is kept of it."""

    excess: float = 1.0
    """So many times the budget is what would alert if the threshold were the budget itself."""

    def threshold(self, share: float) -> float:
        """The p-value under which a record is an alert, for a share of the records that may be."""
        return share / self.excess

    def after(self, records: int, alerts: int, expected: float) -> Self:
        """After so many more records, of which so many alerted where so many were expected."""
        if not records or not expected:
            return self
        weight = 1 - math.exp(-records / _MEMORY)
        most = min(1 + 1 / math.sqrt(_CHANCE * expected / records), _MOST)
        moved = self.excess * (1 + weight * (alerts / expected - 1))
        return type(self)(min(max(moved, 1 / most), most))
