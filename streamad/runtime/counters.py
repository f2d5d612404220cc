"""What was counted: in = scored + rejected + held + in flight, and how good it was where truth is known."""

from __future__ import annotations

import base64
import zlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from streamad.scoring.calibration import SMALLEST

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(slots=True)
class Counters:
    """Totals of the feed, as of the last commit."""

    records_in: int = 0
    scored: int = 0
    rejected: int = 0
    alerts: int = 0
    muted: int = 0
    fast: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    unknown_fields: dict[str, int] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def copy(self) -> Counters:
        """An independent copy."""
        return Counters(**asdict(self))


@dataclass(slots=True)
class Commits:
    """How committing went since the start."""

    transactions: int = 0
    aborted: int = 0
    last_ms: float = 0.0
    committed_at: float | None = None
    """The clock's seconds after the last one."""

    def made(self, began: float, now: float) -> None:
        """One came about."""
        self.transactions += 1
        self.last_ms, self.committed_at = (now - began) * 1000, now


_SHIFT = 15  # float32 without its last 15 bits: 8 bits of mantissa, 0.4 % resolution
_LEAST = int(np.float32(SMALLEST).view(np.uint32)) >> _SHIFT
_BINS = (int(np.float32(1.0).view(np.uint32)) >> _SHIFT) + 1 - _LEAST


class Quality:
    """Area under ROC and average precision of the p-values as they were emitted, in bounded memory.

    p-values fall into bins 0.4 % wide, so the areas are exact up to the order within a bin.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, _BINS), dtype=np.int64)
        self._alerted = np.zeros(2, dtype=np.int64)

    def add(self, p_values: NDArray[np.float64], truth: NDArray[np.int8], threshold: float) -> None:
        """Count n records; truth is 1, 0 or -1 (unknown, not counted)."""
        bins = np.maximum(p_values.astype(np.float32).view(np.uint32) >> _SHIFT, _LEAST) - _LEAST
        for value in (0, 1):
            rows = (truth == value) & ~np.isnan(p_values)
            self._counts[value] += np.bincount(bins[rows], minlength=_BINS)
            self._alerted[value] += int((p_values[rows] < threshold).sum())

    def copy(self) -> Quality:
        """An independent copy."""
        quality = Quality()
        quality._counts, quality._alerted = self._counts.copy(), self._alerted.copy()
        return quality

    def report(self) -> dict[str, float]:
        """auroc, average_precision and recall_at_budget; empty where only one class was seen."""
        normal, anomaly = self._counts
        positives, negatives = int(anomaly.sum()), int(normal.sum())
        if not positives or not negatives:
            return {}
        recall = np.cumsum(anomaly) / positives
        false = np.cumsum(normal) / negatives
        seen = np.cumsum(anomaly) + np.cumsum(normal)
        precision = np.cumsum(anomaly) / np.maximum(seen, 1)
        return {
            "auroc": round(float(np.trapezoid(np.r_[0, recall], np.r_[0, false])), 4),
            "average_precision": round(float((np.diff(np.r_[0, recall]) * precision).sum()), 4),
            "recall_at_budget": round(float(self._alerted[1] / positives), 4),
        }

    def state(self) -> str:
        """As text for the checkpoint."""
        raw = np.concatenate([self._counts.ravel(), self._alerted]).tobytes()
        return base64.b64encode(zlib.compress(raw, 1)).decode()

    @classmethod
    def from_state(cls, state: str) -> Quality:
        """Undo `state`."""
        raw = np.frombuffer(zlib.decompress(base64.b64decode(state)), dtype=np.int64)
        quality = cls()
        quality._counts = raw[:-2].reshape(2, _BINS).copy()
        quality._alerted = raw[-2:].copy()
        return quality
