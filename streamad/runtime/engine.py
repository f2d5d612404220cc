"""The engine: takes batches, scores them and commits them; models and labels come in between two batches."""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from streamad.ports import End, Revoked, WatchedSource
from streamad.records.batch import ACCEPTED, Batch
from streamad.runtime.cadence import Cadence
from streamad.runtime.committer import Committer, rejected_rows
from streamad.runtime.garbage import searched_rarely
from streamad.runtime.matching import check_columns
from streamad.runtime.reader import Release
from streamad.runtime.transaction import Scored
from streamad.runtime.warm_up import WarmUp
from streamad.runtime.window import reread
from streamad.scoring.alerts import Describer

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamad.runtime.feed import Feed
    from streamad.runtime.in_force import InForce
    from streamad.scoring.scorer import Scorer

log = structlog.get_logger()

_DRAIN_SECONDS = 3.0


class Engine:
    """One feed from its source to its sink, on the calling thread."""

    def __init__(self, feed: Feed, in_force: InForce, stop: threading.Event) -> None:
        self._feed, self._stop = feed, stop
        self._limits = feed.config.limits
        self._in_force = in_force
        self._committer = Committer(feed, self._in_force)
        config = feed.config
        self._describer = Describer(
            config.feed,
            config.detector.name,
            config.schema_,
            feed.decoder,
            reasons=config.alerts.reasons,
            candidates=config.labels.candidates,
            sample=config.labels.sample,
            seed=feed.seed,
        )
        self.state = "starting"
        self._next = 0  # the number of the next record to take
        self._warm_up = WarmUp(
            feed.config, feed.clock, replay=feed.replay, fits=in_force.fits, patient=feed.breaker.patient
        )
        self._cadence = Cadence(feed, self._committer, self._rewind)
        self._stopped_at: float | None = None

    def run(self) -> None:
        """Until the source ends or `stop` is set; what was committed by then is whole.

        Raises `InputError`, `BrokenFeedError`, `TrainingError` and `StoreError`, nothing being lost.
        """
        self._cadence.begin()
        self._restore()
        if self._feed.scores_file is not None:
            self._feed.scores_file.resume(self._committer.records)
        self._next = self._committer.records
        self.state = "scoring" if self._in_force.scorer else "warming_up"
        self._feed.reader.start(self._committer.positions, self._next)
        self._in_force.begin_training_if_due(self._committer.records)
        try:
            with searched_rarely():
                while not self._should_stop() and self._boundary() and self._step():
                    self._cadence.commit_if_due()
                if not self._feed.replay:
                    self._cadence.commit_all()
        finally:
            self.state = "stopped"
            self._feed.reader.stop()
            self._in_force.stop()
            self._feed.heartbeat.last(self.status)

    @property
    def finished(self) -> bool:
        """Whether the source has ended and everything is committed."""
        return self._committer.finished

    def status(self) -> dict[str, Any]:
        """What the engine is doing, in numbers: in = scored + rejected + held + in flight."""
        counters, in_flight = self._committer.counters, self._committer.in_flight
        held = len(self._warm_up)
        return {
            "state": self.state,
            "records_in": counters.records_in + in_flight + held,
            "scored": counters.scored,
            "rejected": counters.rejected,
            "held": held,
            "complaint": self._warm_up.complaint,
            "in_flight": in_flight,
            "alerts": counters.alerts,
            "muted": counters.muted,
            **self._in_force.status(),
            "unknown_fields": counters.unknown_fields,
            "progress": self._feed.source.progress(),
            "seconds": round(counters.seconds, 3),
            "sink": asdict(self._cadence.figures),
            "source": self._source_figures(),
        }

    def _source_figures(self) -> dict[str, Any]:
        source = self._feed.source
        if not isinstance(source, WatchedSource):
            return {}
        return asdict(source.figures(self._committer.own_positions))

    def summary(self) -> dict[str, Any]:
        """The totals of a replay (CONTRACTS.md's summary, less what only the process knows)."""
        counters = self._committer.counters
        scoring = max(counters.seconds - counters.training_seconds, 1e-9)
        return {
            "records_in": counters.records_in,
            "scored": counters.scored,
            "rejected": counters.rejected,
            "alerts": counters.alerts,
            "labels": self._feed.book.position,
            "versions": self._in_force.promotions,
            "fast_decoded_share": round(counters.fast / max(counters.scored, 1), 6),
            "seconds": round(counters.seconds, 3),
            "scoring_seconds": round(scoring, 3),
            "training_seconds": round(counters.training_seconds, 3),
            "records_per_second": round(counters.records_in / scoring),
            "records_per_second_all": round(counters.records_in / max(counters.seconds, 1e-9)),
            **self._committer.quality.report(),
        }

    # ---- the loop ------------------------------------------------------------------------------

    def _should_stop(self) -> bool:
        """A replay commits whole transactions only: it goes on to the next commit, or drops the open one."""
        self._feed.heartbeat(self.status)
        if not self._stop.is_set():
            return False
        self.state = "draining"
        now = self._feed.clock.seconds()
        self._stopped_at = self._stopped_at or now
        unfinished = self._feed.replay and self._committer.open.batches
        return not unfinished or now - self._stopped_at > _DRAIN_SECONDS

    def _boundary(self) -> bool:
        """Between two batches: a finished training, a requested version, labels, another budget. False to stop."""
        open_batches = self._committer.open.batches
        if not self._outside(lambda: self._in_force.take_training(self._next, open_batches, self._may_wait)):
            return False
        self._in_force.take_news(self._next, open_batches)
        if (config := self._feed.reloading.news(self._feed.config)) is not None:
            self._feed.config = config
            self._in_force.reconfigured()
        if self._in_force.scorer is not None and self._warm_up:
            held = self._warm_up.take()
            self._feed.reader.unread(held)
            self._next, self.state = held[0].first, "scoring"
        return True

    def _step(self) -> bool:
        """Take one item from the reader. False when the source has ended and all is committed."""
        held_enough = bool(self._warm_up) and self._warm_up.is_over()
        if held_enough and self._in_force.fits:
            return self._first_fit()
        take = self._feed.reader.take_mark if held_enough else self._feed.reader.take
        item = take(self._cadence.patience)
        if isinstance(item, End):
            return self._end()
        if isinstance(item, Release | Revoked):
            self._let_go(item)
        elif isinstance(item, Batch):
            check_columns(self._feed.config.schema_, item)
            self._next = item.first + len(item)
            self._committer.met += self._feed.book.meet(item)
            if self._in_force.scorer is None:
                self._committer.skip(self._warm_up.hold(item))
                self._feed.breaker.held(item)
            else:
                self._score(item, self._in_force.scorer)
                if not self._stop.is_set():
                    self._feed.pace.wait(item, lambda: self._feed.heartbeat(self.status))
        elif not (self._feed.replay or self._committer.in_flight):
            # labels move nothing that is committed, and may be enough for a training
            self._in_force.begin_training_if_due(self._committer.records)
        return True

    def _end(self) -> bool:
        if self._in_force.scorer is None and self._in_force.fits:
            return self._first_fit(ended=True)
        if self._warm_up:
            return self._wait_at_end()
        self._cadence.commit_all()
        if self._next != self._committer.records:
            return True  # the commit was aborted: its records are read and scored again
        self._in_force.take_news(self._next, ())  # labels whose record came by last
        self._in_force.drop_training()
        self._cadence.commit_all(finished=True)
        return not self._committer.finished

    def _wait_at_end(self) -> bool:
        """Records are held, and others fit the model."""
        self._feed.reader.unread([End()])
        mark = self._feed.reader.take_mark(self._limits.poll_ms / 1000)
        if isinstance(mark, Release | Revoked):
            self._let_go(mark)
        return True

    def _rewind(self) -> None:
        """Drop everything that is not committed and read it again."""
        self._warm_up.drop()
        self._committer.drop()
        self._next = self._committer.records
        self._feed.reader.rewind(self._committer.own_positions, self._next)

    def _let_go(self, mark: Release | Revoked) -> None:
        """Partitions go, or went, to somebody else. What was scored of them is committed while there is time."""
        try:
            self._cadence.settle()
            if isinstance(mark, Release):
                self._cadence.commit_all()
            self._committer.let_go(mark.partitions)
            self._rewind()
        finally:
            if isinstance(mark, Release):
                mark.done.set()
        self._feed.breaker.let_go(mark.partitions)

    def _first_fit(self, *, ended: bool = False) -> bool:
        """Fit on the records held back, then let the loop take them again. False if a stop came first."""
        held = self._warm_up.release()
        self._feed.reader.unread([*held, End()] if ended else held)
        self._next = held[0].first
        self.state = "first_fit"
        fitted = self._outside(lambda: self._in_force.first_fit(held, self._may_wait))
        self.state = "scoring"
        return fitted

    # ---- scoring -------------------------------------------------------------------------------

    def _score(self, batch: Batch, scorer: Scorer) -> None:
        scores = scorer.score(batch.numbers, batch.codes)
        bad = batch.status != ACCEPTED
        if bad.any():
            scores.p_value[bad] = scores.score[bad] = np.nan
        open_, threshold = self._committer.open, self._in_force.threshold
        now = self._feed.clock.text()
        described = self._describer.describe(
            batch, scorer, scores, threshold, self._in_force.labels_applied, now
        )
        open_.alerts += described.alerts
        open_.alert_numbers += [row["record_number"] for row in described.pool[: len(described.alerts)]]
        open_.pool += described.pool
        open_.rejected += rejected_rows(batch, now)
        open_.batches.append(Scored(batch, scores, scorer.version, threshold))

    # ---- restore and time ----------------------------------------------------------------------

    def _restore(self) -> None:
        """Take over the last commit: re-read the window, then the learned state that goes with it."""
        if self._feed.restored is None:
            self._in_force.begin()
            return
        positions, checkpoint = self._feed.restored
        window = reread(self._feed, self._committer, self._committer.restore(positions, checkpoint))
        self._in_force.restore(checkpoint, self._committer.records, window)
        scorer = self._in_force.scorer
        log.info("resumed", records=self._committer.records, version=scorer.version if scorer else None)

    def _may_wait(self) -> bool:
        self._feed.heartbeat(self.status)
        return not self._stop.is_set()

    def _outside(self, wait: Callable[[], bool]) -> bool:
        """Run something whose time is training, not scoring."""
        began = self._feed.clock.seconds()
        try:
            return wait()
        finally:
            self._committer.counters.training_seconds += self._feed.clock.seconds() - began
