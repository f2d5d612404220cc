"""What has been scored since the last commit, not yet part of any state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamad.records.batch import Batch, Cursor
    from streamad.scoring.scorer import Scores


@dataclass(slots=True)
class Scored:
    """One batch of the open transaction."""

    batch: Batch
    scores: Scores
    version: int
    threshold: float


@dataclass(slots=True)
class Transaction:
    """The open transaction; dropped whole on an abort."""

    batches: list[Scored] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    alert_numbers: list[int] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    pool: list[dict[str, Any]] = field(default_factory=list)

    @property
    def records(self) -> int:
        """Records in the open transaction, rejected ones included."""
        return sum(len(scored.batch) for scored in self.batches)

    def positions(self) -> dict[str, Cursor]:
        """Where each partition goes on after this transaction."""
        return {
            partition: cursor
            for scored in self.batches
            for partition, cursor in scored.batch.block.cursors.items()
        }

    def rejections(self) -> int:
        """Rejected records in the open transaction."""
        return sum(len(scored.batch.rejections) for scored in self.batches)
