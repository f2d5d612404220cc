"""The breaker: a feed, or a partition, most of whose recent records are rejected is broken, and is no longer read."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import structlog

from streamad.errors import BrokenFeedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from streamad.ports import SharedSource
    from streamad.records.batch import Batch
    from streamad.runtime.options import LimitOptions
    from streamad.runtime.transaction import Transaction

log = structlog.get_logger()


class Outcomes:
    """(records, rejected) of the last pieces of a feed that together make up a window of records."""

    def __init__(self, limits: LimitOptions, pieces: Iterable[Sequence[int]] = ()) -> None:
        self._share, self._window = limits.rejected_share, limits.rejected_window
        self.pieces = deque((records, rejected) for records, rejected in pieces)
        self.records = sum(records for records, _ in self.pieces)
        self.rejected = sum(rejected for _, rejected in self.pieces)

    def add(self, records: int, rejected: int) -> None:
        """One more piece; the oldest ones go as soon as the others suffice."""
        if not records:
            return
        self.pieces.append((records, rejected))
        self.records += records
        self.rejected += rejected
        while self.records - self.pieces[0][0] >= self._window:
            gone, bad = self.pieces.popleft()
            self.records -= gone
            self.rejected -= bad

    @property
    def broken(self) -> bool:
        """Whether too much of a whole window was rejected."""
        return self.records >= self._window and self.rejected > self._share * self.records


class Breaker:
    """Judges what was read, on the engine's thread.

    This one lets everything pass: a trainer moves no position, and learns from what is good.
    """

    patient = True
    """Whether a first model that is made here waits for good records, however many bad ones come before."""

    def state_after(self, transaction: Transaction) -> list[Sequence[int]]:
        """What a checkpoint keeps that commits this transaction."""
        del transaction
        return []

    def restore(self, state: Iterable[Sequence[int]]) -> None:
        """Go on from a checkpoint's."""

    def held(self, batch: Batch) -> None:
        """A batch waits for a model, uncommitted. Raises `BrokenFeedError`."""

    def committed(self, transaction: Transaction) -> None:
        """A transaction was committed. Raises `BrokenFeedError`."""

    def let_go(self, partitions: Collection[str]) -> None:
        """These partitions are somebody else's from now on. Raises `BrokenFeedError`."""


class FeedBreaker(Breaker):
    """One machine: the feed is judged as a whole, and ends. What is held for a first fit, the warm-up judges."""

    patient = False

    def __init__(self, limits: LimitOptions) -> None:
        self._limits = limits
        self._outcomes = Outcomes(limits)

    def state_after(self, transaction: Transaction) -> list[Sequence[int]]:
        """See `Breaker`."""
        outcomes = Outcomes(self._limits, self._outcomes.pieces)
        outcomes.add(transaction.records, transaction.rejections())
        return list(outcomes.pieces)

    def restore(self, state: Iterable[Sequence[int]]) -> None:
        """See `Breaker`."""
        self._outcomes = Outcomes(self._limits, state)

    def committed(self, transaction: Transaction) -> None:
        """See `Breaker`."""
        self._outcomes.add(transaction.records, transaction.rejections())
        if self._outcomes.broken:
            raise BrokenFeedError(
                f"{self._outcomes.rejected:,} of the last {self._outcomes.records:,} records were rejected, so the "
                "feed itself is broken; streamad rejected shows them"
            )


class PartitionBreaker(Breaker):
    """A cluster's scorer: partitions are judged one by one, and bad ones are read no more until they are given anew.

    What was read of them goes its way: it is committed as rejected, and the partition stops behind it. Nothing of this
    is kept: whoever reads a partition next judges it anew.
    """

    def __init__(self, limits: LimitOptions, source: SharedSource) -> None:
        self._limits, self._source = limits, source
        self._outcomes: dict[str, Outcomes] = {}
        self._bad: set[str] = set()
        self._judged = 0  # the number behind the last record that was judged

    def held(self, batch: Batch) -> None:
        """See `Breaker`."""
        self._judge(batch)

    def committed(self, transaction: Transaction) -> None:
        """See `Breaker`."""
        for scored in transaction.batches:
            self._judge(scored.batch)

    def let_go(self, partitions: Collection[str]) -> None:
        """See `Breaker`."""
        for partition in partitions:
            self._outcomes.pop(partition, None)
            self._bad.discard(partition)
        self._end_if_all_are_bad(partitions)

    def _judge(self, batch: Batch) -> None:
        """Count each record once, also where it was held first and committed later."""
        if batch.first < self._judged:
            return
        self._judged = batch.first + len(batch)
        bad = np.zeros(len(batch), np.bool_)
        bad[list(batch.rejections)] = True
        for partition in batch.block.cursors.keys() - self._bad:
            rows = batch.block.rows_of(partition)
            outcomes = self._outcomes.setdefault(partition, Outcomes(self._limits))
            outcomes.add(int(rows.sum()), int((rows & bad).sum()))
            if outcomes.broken:
                self._pause(partition, outcomes)

    def _pause(self, partition: str, outcomes: Outcomes) -> None:
        log.error(
            "partition_paused", partition=partition, rejected=outcomes.rejected, records=outcomes.records
        )
        self._bad.add(partition)
        self._source.pause((partition,))
        self._end_if_all_are_bad()

    def _end_if_all_are_bad(self, leaving: Collection[str] = ()) -> None:
        left = set(self._source.owned) - set(leaving)
        if left and left <= self._bad:
            raise BrokenFeedError(
                f"most of the last records of {', '.join(sorted(left))} were rejected, and there is nothing else to "
                "read here; the topic of rejected records holds them"
            )
