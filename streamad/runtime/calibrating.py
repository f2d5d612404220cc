"""What calibration learns of a feed: records that a version was not trained on, and how often they alert."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamad.records.batch import ACCEPTED
from streamad.records.dictionary import remap
from streamad.scoring.rate import AlertRate
from streamad.state.holdout import compared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamad.records.batch import Batch
    from streamad.runtime.retraining import Plan
    from streamad.runtime.transaction import Scored
    from streamad.scoring.scorer import Scorer


class _Piece(NamedTuple):
    """Rows of one batch."""

    at: NDArray[np.int64]
    """[n] record numbers."""
    numbers: NDArray[np.float64]
    codes: NDArray[np.int32]


class Calibrating:
    """Gives a version's reference the rows that came after its training began, and keeps the newest for the next.

    What a commit brings is known before it (`state`) and in force after it (`meet`).
    """

    def __init__(self, records: int, seed: int) -> None:
        """A new version meets what it was not trained on of the last so many `records`: a swap has to be quick."""
        self._records, self._seed = records, seed
        self._waiting: deque[_Piece] | None = None
        self._trained, self._begun = 0, 0
        self.since = 0
        """From this record number on the version in force was trained on none."""
        self._rate, self._share = AlertRate(), 0.0

    def state(self, batches: Sequence[Scored]) -> dict[str, Any]:
        """For the checkpoint, once these batches are committed."""
        return {"since": self.since, "rate": asdict(self._rate_after(batches))}

    def restore(self, state: Mapping[str, Any], effective_at: int, plan: Plan) -> None:
        """Go on from a checkpoint, or where it says nothing from where the version in force took over."""
        saved = {"since": effective_at, "rate": {}} | state.get("calibration", {})
        self.since, self._rate = saved["since"], AlertRate(**saved["rate"])
        if plan.under_way:
            self.begin(plan.last_version, plan.begun_at)

    def threshold(self, share: float) -> float:
        """The p-value under which records alert from now on, for a share of them that is meant to."""
        self._share = share
        return self._rate.threshold(share)

    def rows(self, batch: Batch) -> NDArray[np.int64]:
        """The accepted rows of a batch that a reference may hold."""
        rows = np.flatnonzero(batch.status == ACCEPTED)
        return rows[compared(batch.identities(rows), self._seed)]

    def begin(self, version: int, number: int) -> None:
        """The training of a version begins, on records before this number."""
        self._waiting, self._trained, self._begun = deque(), version, number

    def meet(self, scorer: Scorer, committed: Sequence[Scored]) -> None:
        """Let the version in force refer to the rows of committed batches."""
        self._rate = self._rate_after(committed)
        for scored in committed:
            batch, rows = scored.batch, self.rows(scored.batch)
            self._wait(batch, rows)
            rows = rows[batch.first + rows >= self.since]
            if scored.version == scorer.version:
                scorer.extend(scored.scores.features[rows], scored.scores.base[rows])
            else:
                scorer.meet(batch.numbers[rows], batch.codes[rows])

    def again(self, scorer: Scorer, batch: Batch) -> None:
        """As `meet` with a batch of the window that is read again."""
        rows = self.rows(batch)
        if batch.first >= self._begun:
            self._wait(batch, rows)
        rows = rows[batch.first + rows >= self.since]
        scorer.meet(batch.numbers[rows], batch.codes[rows])

    def swapped(self, scorer: Scorer, number: int, tables: Sequence[NDArray[np.int32]]) -> None:
        """Another version takes over at record `number`; codes change as `Buffer.remap` has it."""
        self.since = number
        if self._waiting is not None:
            self._waiting = deque(piece._replace(codes=remap(piece.codes, tables)) for piece in self._waiting)
            if scorer.version == self._trained:
                self._take_over(scorer, number)

    def _take_over(self, scorer: Scorer, number: int) -> None:
        self.since = max(number - self._records, self._begun)
        young = [piece for piece in self._waiting or () if piece.at[-1] >= self.since]
        if young:
            at, numbers, codes = (np.concatenate(column) for column in zip(*young, strict=True))
            rows = at >= self.since
            scorer.meet(numbers[rows], codes[rows])
            scorer.recalibrate()
        self._waiting = None

    def _rate_after(self, batches: Sequence[Scored]) -> AlertRate:
        """Records that the version in force was trained on say nothing."""
        rate = self._rate
        for scored in batches:
            if scored.batch.first >= self.since:
                p_value = scored.scores.p_value[scored.batch.status == ACCEPTED]
                rate = rate.after(p_value < scored.threshold, scored.threshold, self._share)
        return rate

    def _wait(self, batch: Batch, rows: NDArray[np.int64]) -> None:
        if self._waiting is None or not len(rows):
            return
        self._waiting.append(_Piece(batch.first + rows, batch.numbers[rows], batch.codes[rows]))
        while self._waiting[0].at[-1] < batch.first + len(batch) - self._records:
            self._waiting.popleft()
