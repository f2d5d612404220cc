"""Records held back until there is a first model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamad.errors import BrokenFeedError, InputError
from streamad.runtime.matching import check_values

if TYPE_CHECKING:
    from streamad.config import Config
    from streamad.records.batch import Batch
    from streamad.runtime.clock import Clock


class WarmUp:
    """Holds batches, uncommitted, until there are enough of them to fit the first model."""

    def __init__(self, config: Config, clock: Clock, *, replay: bool, fits: bool = True) -> None:
        self._options, self._limits = config.training.warm_up, config.limits
        self._schema, self._replay, self._fits = config.schema_, replay, fits
        self._seconds = clock.seconds
        self._batches: list[Batch] = []
        self._since = 0.0

    def __len__(self) -> int:
        """Records held."""
        return sum(map(len, self._batches))

    def hold(self, batch: Batch) -> None:
        """Keep one more batch.

        Where it is to be fitted on, raises `InputError` or `BrokenFeedError` when too much of it is rejected.
        """
        if not self._batches:
            self._since = self._seconds()
        self._batches.append(batch)
        if self._fits and self._rejected() > self._limits.rejected_share * max(
            len(self), self._limits.rejected_window
        ):
            self._refuse()

    def is_over(self) -> bool:
        """Whether enough good records are held; in the daemon also whether they waited long enough."""
        accepted = len(self) - self._rejected()
        waited = not self._replay and self._seconds() - self._since >= self._options.seconds
        return accepted >= self._options.records or (waited and accepted > 0)

    def release(self) -> list[Batch]:
        """Hand out what is held, to fit on and then to score. Raises `InputError` where nothing of it is good."""
        if not self._batches:
            raise InputError("the source holds no records")
        if self._rejected() == len(self):
            self._refuse()
        check_values(self._schema, self._batches)
        return self.take()

    def take(self) -> list[Batch]:
        """Hand out what is held, to score."""
        batches, self._batches = self._batches, []
        return batches

    def drop(self) -> None:
        """Forget what is held: it is read again."""
        self._batches.clear()

    def _rejected(self) -> int:
        return sum(len(batch.rejections) for batch in self._batches)

    def _refuse(self) -> None:
        batch = next(batch for batch in self._batches if batch.rejections)
        row, rejection = min(batch.rejections.items())
        field = f" ({rejection.field})" if rejection.field else ""
        why = f"the first, {batch.block.position(row)}: {rejection.reason}{field}"
        if self._rejected() == len(self):
            raise InputError(f"none of the first {len(self):,} records fits the schema; {why}")
        raise BrokenFeedError(f"{self._rejected():,} of the first {len(self):,} records were rejected; {why}")
