"""When the engine commits, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from streamad.errors import CommitAbortedError
from streamad.runtime.counters import Commits

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamad.runtime.committer import Committer
    from streamad.runtime.feed import Feed

log = structlog.get_logger()


class Cadence:
    """One commit at a time; where it goes on in the background, the next one waits for it.

    A replay commits every so many batches. The daemon commits as soon as there is something, but only so many
    milliseconds after it began to do so last.
    """

    def __init__(self, feed: Feed, committer: Committer, rewind: Callable[[], None]) -> None:
        """`rewind` drops all that is not committed, and has it read again."""
        self._feed, self._limits, self._clock = feed, feed.config.limits, feed.clock
        self._committer, self._rewind = committer, rewind
        self.figures = Commits()
        self._failing = False
        self.begin()

    def begin(self) -> None:
        """Count time from now on."""
        self._began = self._mark = self._clock.seconds()

    @property
    def patience(self) -> float:
        """For how many seconds the engine may wait for more."""
        poll = self._limits.poll_ms / 1000
        by_time = self._committer.open.batches and not self._feed.replay
        return min(poll, max(0.0, self._due_in)) if by_time else poll

    def commit_if_due(self) -> None:
        """Between two batches."""
        if self._committer.told:
            self.settle()
        batches = len(self._committer.open.batches)
        if batches >= self._limits.commit_batches if self._feed.replay else batches and self._due_in <= 0:
            self._commit()

    def commit_all(self, *, finished: bool = False) -> None:
        """Commit what is scored, and wait for it; `finished`: also where that is nothing."""
        self._commit(finished=finished)
        self.settle()

    def settle(self) -> None:
        """Wait for the commit under way, if there is one, and heed what became of it.

        Of aborts in a row the first is a warning.
        """
        try:
            took = self._committer.settle()
        except CommitAbortedError as error:
            self.figures.aborted += 1
            tell, self._failing = log.debug if self._failing else log.warning, True
            tell("commit_aborted", records=self._committer.in_flight, reason=str(error))
            self._rewind()
        else:
            if took is not None:
                self._failing = False
                self.figures.made(*took)

    @property
    def _due_in(self) -> float:
        return self._began + self._limits.commit_ms / 1000 - self._clock.seconds()

    def _commit(self, *, finished: bool = False) -> None:
        self.settle()  # an abort drops what was scored since, too
        if not (self._committer.open.batches or finished):
            return
        self._began = self._clock.seconds()
        self._committer.counters.seconds += self._began - self._mark
        self._mark = self._began
        self._committer.commit(finished=finished)
        if self._committer.told:
            self.settle()
