"""Everything that is learned, and when it changes: buffer, scorer, labels, trainings.

Two kinds of change. What records bring (buffer, reference, budget) is applied after their commit, so
that an abort leaves no trace. What labels and trainings bring is applied at a batch boundary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from streamad.errors import StoreError, TrainingError
from streamad.records.batch import ACCEPTED, Batch
from streamad.runtime.calibrating import Calibrating
from streamad.runtime.drifting import DriftWatch
from streamad.runtime.in_force import InForce
from streamad.runtime.snapshots import snapshot_of
from streamad.scoring.calibration import threshold_for
from streamad.state.buffer import Buffer
from streamad.state.past import Past
from streamad.training.trainer import Failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamad.runtime.feed import LearningFeed
    from streamad.runtime.transaction import Scored
    from streamad.scoring.scorer import Scorer
    from streamad.state.artifacts import Artifact
    from streamad.state.versions import Request

log = structlog.get_logger()

#: Records that the calibration remembers: half of those that it may refer to, and fewer than the window holds.
_REFERENCE_ROWS, _REFERENCE_SHARE = 22_500, 0.45


class Learner(InForce):
    """The learned state of one feed, all of it its own."""

    def __init__(self, feed: LearningFeed) -> None:
        window = feed.config.training.window
        rows = min(_REFERENCE_ROWS, max(int(window.records * _REFERENCE_SHARE), 1))
        super().__init__(feed, rows)
        self._feed: LearningFeed = feed
        feed.retraining.plan.last_version = feed.last_version
        self._calibrating = Calibrating(rows * 2 // 3, feed.seed)
        self._drift = DriftWatch(feed)
        self._past = Past(window.past, window.records, feed.config.schema_, feed.seed)
        self._dictionary_saved = self._dictionary_due = (-1, 0)

    # ---- at a batch boundary -------------------------------------------------------------------

    def take_news(self, number: int, open_batches: Sequence[Scored]) -> None:
        """Apply the labels that are due before record `number`, and fulfil requests for another version."""
        news = self._feed.news()
        if news:
            self._feed.book.receive(news.changes, news.waiting)
            self.mutes.take(news.mutes)
        self._apply_labels(number)
        for request in news.requests if news else ():
            self._fulfil(request, number, open_batches)

    def take_training(
        self, number: int, open_batches: Sequence[Scored], keep_waiting: Callable[[], bool]
    ) -> bool:
        """Swap to the training under way if it is its time; False if a stop interrupted the wait.

        In a replay its time is a record number, and the engine waits for the trainer if it must; in the
        daemon it is whenever the trainer is ready.
        """
        retraining = self._feed.retraining
        if not retraining.plan.under_way or (self._feed.replay and not retraining.effective(number)):
            return True
        outcome = self.wait(keep_waiting) if self._feed.replay else retraining.outcome(0)
        if outcome is None:
            return not self._feed.replay
        if isinstance(outcome, Failed) and outcome.world and self._feed.replay:
            raise StoreError(outcome.reason)  # counted as failed, the replay would not be the same twice
        version = retraining.plan.last_version
        if isinstance(outcome, Failed):
            self.versions.append({"number": version, "status": "failed"})
        elif refused := self._refused(outcome[0]):
            log.info("version_refused", version=version, reason=refused["reason"])
            self.versions.append({"number": version, "status": "refused", "numbers": refused})
        elif self.scorer is not None and self._feed.is_pinned(self.scorer.version):
            log.info("version_held_back", version=version, pinned=self.scorer.version)
            self.versions.append({"number": version, "numbers": _numbers(outcome[0])})
        else:
            self._trained(outcome)
            self._swap(outcome, number, open_batches)
        return True

    def _refused(self, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
        """Why a training's version does not take over, if so, with what was measured."""
        trial = manifest.get("trial")
        if trial is None:
            return None
        if self.scorer is None or self.scorer.version != manifest["parent"]:
            return {"reason": f"it was compared with version {manifest['parent']}, which no longer scores"}
        return None if trial["promoted"] else {"reason": trial["reason"], **trial["numbers"]}

    def drop_training(self) -> None:
        """The source has ended: a training that is still under way has nothing left to take effect on."""
        if self._feed.replay and self._feed.retraining.plan.under_way:
            self._feed.retraining.drop()
            self.versions.append({"number": self._feed.retraining.plan.last_version, "status": "failed"})

    # ---- the first model -----------------------------------------------------------------------

    def first_fit(self, held: Sequence[Batch], keep_waiting: Callable[[], bool]) -> bool:
        """Fit the first model on the records held back; False if a stop interrupted it."""
        self._feed.on_step("first_fit")
        schema = self._feed.config.schema_
        warm_up = Buffer(sum(map(len, held)), len(schema.numbers), len(schema.categories))
        for batch in held:
            self.append(warm_up, batch)
        self.begin_training(warm_up, 0)
        outcome = self.wait(keep_waiting)
        if outcome is None:
            return False
        if isinstance(outcome, Failed):
            raise TrainingError(f"the first model could not be fitted: {outcome.reason}")
        self._trained(outcome)
        self._calibrating.begin(int(outcome[0]["version"]), held[-1].first + len(held[-1]))
        self._swap(outcome, held[0].first, (), warm_up)
        return True

    def _start_from(self, artifact: Artifact, number: int = 0, window: Sequence[Batch] = ()) -> None:
        """Begin at record `number` with a version that is there already, in place of a warm-up."""
        plan = self._feed.retraining.plan
        plan.label_position, plan.begun_at = artifact[0]["label_position"], number
        self._feed.book.restore(self._feed.log_entries)
        for batch in window:
            self.append(self._feed.buffer, batch)
        self._swap(artifact, number, ())

    # ---- after a commit ------------------------------------------------------------------------

    def absorb(self, committed: Sequence[Scored]) -> None:
        """Take the rows of a committed transaction into the window, the reference and the budget."""
        scorer = self.scorer
        assert scorer is not None
        self.applied, self.versions, self.handled = [], [], []
        self._dictionary_saved = self._dictionary_due
        for scored in committed:
            self.append(self._feed.buffer, scored.batch)
        self._calibrating.meet(scorer, committed)
        self._recalibrate(scorer)
        self._past.commit()
        self._drift.commit(committed, self._values)

    def begin_training_if_due(self, records: int) -> None:
        """Start a background training after the commit of record number `records`, if one is due."""
        retraining = self._feed.retraining
        if self.scorer is None or not len(self._feed.buffer):
            return
        if retraining.due(records, self._feed.book.position, self._drift.asks_since):
            self.begin_training(self._feed.buffer, records)
            self._feed.on_step("training_begun")

    # ---- checkpoint and restore ----------------------------------------------------------------

    def checkpoint(self, records: int, batches: Sequence[Scored]) -> dict[str, Any]:
        """See `InForce.checkpoint`."""
        assert self.scorer is not None
        state: dict[str, Any] = {
            "learner": {
                "version": self.scorer.version,
                "effective_at": self.effective_at,
                "calibration": self._calibrating.state(batches),
                "promotions": self.promotions,
                "retraining": self._feed.retraining.state(),
            },
            **self._drift.prepare(batches),
            **self._past.prepare([scored.batch for scored in batches], records, self._values),
        }
        self._dictionary_due = self._feed.dictionary.extent(records)
        if self._dictionary_due != self._dictionary_saved:
            state["dictionary"] = self._feed.dictionary.state(records)
        return state

    def begin(self) -> None:
        """Start with the version that there is already, if there is one."""
        if initial := self._feed.initial():
            self._start_from(initial)

    def restore(self, checkpoint: Mapping[str, Any], records: int, window: Sequence[Batch]) -> None:
        """Go on from a checkpoint; `window` is the re-read window, in order."""
        if "learner" in checkpoint:
            self._restore(checkpoint, window)
        elif initial := self._feed.initial():
            self._start_from(initial, records, window)
        self._past.restore(checkpoint.get("past"), self._values())
        for batch in window:
            self._past.again(batch)

    def _restore(self, checkpoint: Mapping[str, Any], window: Sequence[Batch]) -> None:
        state = checkpoint["learner"]
        artifact = self._feed.load_artifact(state["version"])
        scorer = self._make_scorer(artifact)
        records = checkpoint["engine"]["records"]
        same = scorer.version == state["version"]
        effective_at = state["effective_at"] if same else records
        self._feed.book.restore(self._feed.log_entries)
        self._feed.retraining.restore(state["retraining"], self._feed.last_version)
        self._calibrating.restore(state if same else {}, effective_at, self._feed.retraining.plan)
        scorer.bind(self._values())
        for batch in window:
            self.append(self._feed.buffer, batch)
            self._calibrating.again(scorer, batch)
        if not same:
            self.versions.append({"number": scorer.version, "status": "active"})
        self.promotions = state["promotions"]
        self._adopt(scorer, effective_at)
        self._drift.restore(checkpoint, self._values)

    def status(self) -> dict[str, Any]:
        """See `InForce.status`; also the trainings."""
        retraining = self._feed.retraining
        return {
            **super().status(),
            **self._drift.status(),
            "training": retraining.plan.under_way,
            "failed_trainings": retraining.plan.failures,
            "training_seconds": round(retraining.seconds, 3),
        }

    def stop(self) -> None:
        """The engine has stopped: so does a training."""
        self._feed.retraining.stop()

    # ---- pieces --------------------------------------------------------------------------------

    def _fulfil(self, request: Request, number: int, open_batches: Sequence[Scored]) -> None:
        """Swap to the version that `streamad models` asked for."""
        if self.scorer is None or request.id in self.handled:
            return
        self.handled.append(request.id)
        if request.number is not None:
            self._swap(self._feed.load_artifact(request.number), number, open_batches)

    def begin_training(self, buffer: Buffer, records: int, label_position: int | None = None) -> None:
        """Start a training on what `buffer` holds after record number `records`.

        `label_position` is how many label changes the head then holds, all those of the book by default.
        """
        parent = self.scorer.version if self.scorer else None
        position = self._feed.book.position if label_position is None else label_position
        snapshot = snapshot_of(self._feed, buffer, self._past, self._values(), parent, position)
        self._feed.retraining.begin(snapshot, records)
        self._calibrating.begin(snapshot.version, records)
        self.versions.append({"number": snapshot.version, "created_record": records, "parent": parent})

    def wait(self, keep_waiting: Callable[[], bool]) -> Artifact | Failed | None:
        """The outcome of the training under way, or None if a stop interrupted the wait."""
        while (outcome := self._feed.retraining.outcome(0.05)) is None:
            if not keep_waiting():
                return None
        return outcome

    def _trained(self, artifact: Artifact) -> None:
        """A training has brought a version, which is about to be swapped in."""

    def _swap(
        self, artifact: Artifact, number: int, open_batches: Sequence[Scored], window: Buffer | None = None
    ) -> None:
        """Score with another version from record `number` on."""
        codes = np.concatenate([(window or self._feed.buffer).codes(), self._past.codes()])
        tables = self._take_over(artifact, number, open_batches, codes)
        self._feed.buffer.remap(tables)
        self._past.remap(tables)
        assert self.scorer is not None
        self._calibrating.swapped(self.scorer, number, tables)
        self._drift.bind(self._values())
        self.versions.append(
            {"number": artifact[0]["version"], "status": "active", "numbers": _numbers(artifact[0])}
        )

    def _recalibrate(self, scorer: Scorer) -> None:
        """Bring p-values and threshold up to date with reference, head, and the rates of records and of alerts."""
        scorer.recalibrate()
        share = threshold_for(self._feed.config.alerts.budget, self._records_per_hour())
        self.threshold = self._calibrating.threshold(share)

    def _records_per_hour(self) -> float | None:
        return self._feed.buffer.records_per_hour()

    def append(self, buffer: Buffer, batch: Batch) -> None:
        """Add a batch's accepted rows to a window."""
        rows = np.flatnonzero(batch.status == ACCEPTED)
        times = batch.times[rows]
        if not self._feed.replay:
            times = batch.arrivals(rows, self._feed.clock.micros())
        buffer.append(batch.numbers[rows], batch.codes[rows], batch.identities(rows), times)

    def rows_to_compare(self, batch: Batch) -> NDArray[np.int64]:
        """See `Calibrating.rows`."""
        return self._calibrating.rows(batch)


def _numbers(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a training and its trial measured."""
    measured: dict[str, Any] = manifest["loss"] | manifest.get("trial", {"numbers": {}})["numbers"]
    return measured
