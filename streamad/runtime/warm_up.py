"""Records held back until there is a first model."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import structlog

from streamad.errors import BrokenFeedError, InputError
from streamad.runtime.matching import check_values, has_values

if TYPE_CHECKING:
    from streamad.config import Config
    from streamad.records.batch import Batch
    from streamad.runtime.clock import Clock

log = structlog.get_logger()


class _Held(NamedTuple):
    """A batch, and how many of its records count."""

    batch: Batch
    good: int


class WarmUp:
    """Holds batches, uncommitted, until there are enough of them to fit the first model."""

    def __init__(
        self, config: Config, clock: Clock, *, replay: bool, fits: bool = True, patient: bool = False
    ) -> None:
        """Where it `fits`, it judges what it holds, and gives up where too much of it is bad, unless it is `patient`.

        A patient one waits for good records, holding no more than a window of the newest ones meanwhile.
        """
        self._options, self._limits = config.training.warm_up, config.limits
        self._schema, self._replay, self._fits, self._patient = config.schema_, replay, fits, patient
        self._room = config.training.window.records
        self._seconds = clock.seconds
        self._held: deque[_Held] = deque()
        self._since = 0.0
        self._told = False
        self.complaint = ""
        """Why a patient one waits, while it is for bad records: a sentence for people."""

    def __len__(self) -> int:
        """Records held."""
        return sum(len(held.batch) for held in self._held)

    def hold(self, batch: Batch) -> list[Batch]:
        """Keep one more batch. Returns the oldest ones where there is no room for them any more.

        Where it is to be fitted on, raises `InputError` or `BrokenFeedError` when too much of it is rejected.
        """
        if not self._accepted():
            self._since = self._seconds()
        self._held.append(_Held(batch, self._good(batch)))
        if not self._fits:
            return []
        if self._patient:
            self._look()
            return self._let_go()
        if self._is_much(self._rejected()):
            self._refuse()
        return []

    def is_over(self) -> bool:
        """Whether enough good records are held; in the daemon also whether they waited long enough."""
        accepted = self._accepted()
        waited = not self._replay and self._seconds() - self._since >= self._options.seconds
        return accepted >= self._options.records or (waited and accepted > 0)

    def release(self) -> list[Batch]:
        """Hand out what is held, to fit on and then to score. Raises `InputError` where nothing of it is good."""
        if not self._held:
            raise InputError("the source holds no records")
        if self._rejected() == len(self):
            self._refuse()
        batches = self.take()
        check_values(self._schema, batches)
        return batches

    def take(self) -> list[Batch]:
        """Hand out what is held, to score."""
        batches = [held.batch for held in self._held]
        self.drop()
        return batches

    def drop(self) -> None:
        """Forget what is held: it is read again."""
        self._held.clear()
        self.complaint = ""

    def _good(self, batch: Batch) -> int:
        """Accepted records; a patient one wants values in them too, as nothing can be fitted on others."""
        good = len(batch) - len(batch.rejections)
        return good if not self._patient or has_values(batch) else 0

    def _accepted(self) -> int:
        return sum(held.good for held in self._held)

    def _rejected(self) -> int:
        return sum(len(held.batch.rejections) for held in self._held)

    def _is_much(self, bad: int) -> bool:
        window = self._limits.rejected_window
        window = min(window, self._room) if self._patient else window
        return bad > self._limits.rejected_share * max(len(self), window)

    def _let_go(self) -> list[Batch]:
        gone, surplus = [], len(self) - self._room
        while len(self._held) > 1 and surplus > 0:
            gone.append(self._held.popleft().batch)
            surplus -= len(gone[-1])
        return gone

    def _look(self) -> None:
        """See whether most of it is bad, and tell people of it once."""
        bad = len(self) - self._accepted()
        if not self._is_much(bad):
            self.complaint = ""
            return
        batch = next(held.batch for held in reversed(self._held) if held.good < len(held.batch))
        row = max(batch.rejections, default=len(batch) - 1)
        self.complaint = (
            f"{bad:,} of the last {len(self):,} records are no good, and the first model waits for others; "
            f"the last, {_why(batch, row)}"
        )
        if not self._told:
            self._told = True
            log.warning("waits_for_good_records", why=self.complaint)

    def _refuse(self) -> None:
        batch = next(held.batch for held in self._held if held.batch.rejections)
        why = f"the first, {_why(batch, min(batch.rejections))}"
        if self._rejected() == len(self):
            raise InputError(f"none of the first {len(self):,} records fits the schema; {why}")
        raise BrokenFeedError(f"{self._rejected():,} of the first {len(self):,} records were rejected; {why}")


def _why(batch: Batch, row: int) -> str:
    """Where a record is, and what is wrong with it."""
    rejection = batch.rejections.get(row)
    if rejection is None:
        return f"{batch.block.position(row)}: no value in any field of the schema"
    field = f" ({rejection.field})" if rejection.field else ""
    return f"{batch.block.position(row)}: {rejection.reason}{field}"
