"""A scorer of a cluster: what it scores with is published, and nothing that it sees changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from streamad.errors import StateError
from streamad.runtime.in_force import InForce
from streamad.runtime.published import Published, Unfit
from streamad.scoring.calibration import threshold_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from streamad.ports import Reference
    from streamad.records.batch import Batch
    from streamad.runtime.feed import Feed
    from streamad.runtime.transaction import Scored
    from streamad.scoring.scorer import Scorer
    from streamad.state.artifacts import Artifact

log = structlog.get_logger()

_PATIENCE = 30.0
"""Seconds that a version waits for labels that it has learned and that were not read here."""


class Follower(InForce):
    """Scores with the promoted version, its newest reference, and all labels in their order."""

    fits = False

    def __init__(self, feed: Feed, published: Published) -> None:
        super().__init__(feed, reference_rows=1)
        self._published = published
        self._reference: Reference | None = None
        self._promoted: Artifact | None = None  # until it is taken over
        self._promoted_at = 0.0
        self._unfit: Unfit | None = None  # the newest promoted version, if it is

    def begin(self) -> None:
        """Take over all that is published by now."""
        self.take_news(0, ())

    def restore(self, checkpoint: Mapping[str, Any], records: int, window: Sequence[Batch]) -> None:
        """As `begin`, at record number `records`."""
        del checkpoint, window
        self.take_news(records, ())

    def take_news(self, number: int, open_batches: Sequence[Scored]) -> None:
        """Apply labels in their order, then the newest version and its newest reference."""
        news = self._published.news()
        self._apply_labels(number, news.changes)
        if news.mutes is not None:
            now = self._feed.clock.text()
            self.mutes.take(mute for mute in news.mutes if mute.holds_at(now))
        if isinstance(news.promoted, Unfit):
            self._unfit = news.promoted
        elif news.promoted is not None:
            self._promoted, self._promoted_at = news.promoted, self._feed.clock.seconds()
            self._unfit = None
        if self._promoted is not None and self._has_its_labels(self._promoted):
            nothing = np.empty((0, len(self._feed.config.schema_.categories)), np.int32)
            self._take_over(self._promoted, number, open_batches, nothing)
            self._promoted = None
        self._check_schema()
        self._reference = news.reference or self._reference
        if self._reference is not None and self.scorer and self._reference.version == self.scorer.version:
            self._refer(self._reference, self.scorer)
            self._reference = None

    def _check_schema(self) -> None:
        """Raises `StateError` where there is no model but one of another schema: waiting would not help."""
        none = self.scorer is None and self._promoted is None
        if none and self._unfit is not None and self._unfit.of_another_schema:
            raise StateError(self._unfit.reason)

    def status(self) -> dict[str, Any]:
        """See `InForce.status`; also why the newest promoted version does not score."""
        return {
            **super().status(),
            "labels": self._published.counts(self._feed.book),
            "unfit": self._unfit.reason if self._unfit else None,
        }

    @property
    def labels_applied(self) -> int:
        """In a cluster, how far the shared order of labels was read: the same head on every scorer."""
        return self._published.labels

    def take_training(
        self, number: int, open_batches: Sequence[Scored], keep_waiting: Callable[[], bool]
    ) -> bool:
        """Somebody else trains."""
        del number, open_batches, keep_waiting
        return True

    def drop_training(self) -> None:
        """There is none."""

    def absorb(self, committed: Sequence[Scored]) -> None:
        """Nothing is learned from records here."""
        del committed
        self.applied = []

    def begin_training_if_due(self, records: int) -> None:
        """Somebody else trains."""

    def checkpoint(self, records: int, batches: Sequence[Scored]) -> dict[str, Any]:
        """All of it is published already."""
        del records, batches
        return {}

    def rows_to_compare(self, batch: Batch) -> NDArray[np.int64]:
        """The reference is published."""
        del batch
        return np.empty(0, np.int64)

    def stop(self) -> None:
        """Nothing runs."""

    def _has_its_labels(self, promoted: Artifact) -> bool:
        """Whether all labels that a version has learned were read here, or are not to be had.

        A head that had learned what `labels_applied` does not count would learn it a second time once it is read.
        """
        missing = int(promoted[0]["label_position"]) - self._feed.book.position
        if missing > 0 and self._feed.clock.seconds() - self._promoted_at > _PATIENCE:
            log.warning("labels_of_version_missing", version=promoted[0]["version"], count=missing)
            return True
        return missing <= 0

    def _refer(self, reference: Reference, scorer: Scorer) -> None:
        try:
            scorer.refer_to(reference.arrays)
        except StateError as error:
            log.warning("reference_unreadable", version=reference.version, reason=str(error))
            return
        scorer.recalibrate()
        self.threshold = reference.threshold

    def _recalibrate(self, scorer: Scorer) -> None:
        scorer.recalibrate()
        if not self.threshold:
            self.threshold = threshold_for(self._feed.config.alerts.budget, None)
