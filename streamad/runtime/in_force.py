"""The version that scores, whoever decides on it: swaps between two batches, labels in their order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from streamad.records.dictionary import remap
from streamad.scoring.mutes import Mutes
from streamad.scoring.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from streamad.records.batch import Batch
    from streamad.runtime.feed import Feed
    from streamad.runtime.transaction import Scored
    from streamad.state.artifacts import Artifact
    from streamad.state.labels import LabelChange

log = structlog.get_logger()


class InForce(ABC):
    """What the engine asks about the model. What it says changes at a batch boundary or after a commit."""

    fits = True
    """Whether the first model is made here, out of the records held back."""

    def __init__(self, feed: Feed, reference_rows: int) -> None:
        self._feed = feed
        self.reference_rows = reference_rows
        """Records that the calibration remembers."""
        self.scorer: Scorer | None = None
        self.threshold = 0.0
        self.applied: list[dict[str, Any]] = []
        """Label changes applied since the last commit, in order."""
        self.versions: list[dict[str, Any]] = []
        """What became of versions since the last commit."""
        self.handled: list[int] = []
        """Requests fulfilled since the last commit."""
        self.mutes = Mutes(feed.config.schema_)
        """What people do not want to be told of."""
        self.promotions = 0
        self.effective_at = 0
        """The record number at which the scorer's version took over."""

    @abstractmethod
    def begin(self) -> None:
        """Nothing was ever committed."""

    @abstractmethod
    def restore(self, checkpoint: Mapping[str, Any], records: int, window: Sequence[Batch]) -> None:
        """Go on from a checkpoint at record number `records`; `window` is the re-read window, in order."""

    @abstractmethod
    def take_news(self, number: int, open_batches: Sequence[Scored]) -> None:
        """Apply what others decided before record `number`: labels, another version."""

    @abstractmethod
    def take_training(
        self, number: int, open_batches: Sequence[Scored], keep_waiting: Callable[[], bool]
    ) -> bool:
        """Swap to the training under way if it is its time; False if a stop interrupted the wait."""

    @abstractmethod
    def drop_training(self) -> None:
        """The source has ended: a training that is still under way has nothing left to take effect on."""

    def first_fit(self, held: Sequence[Batch], keep_waiting: Callable[[], bool]) -> bool:
        """Fit the first model on the records held back, where it `fits`; False if a stop interrupted it."""
        raise NotImplementedError

    @abstractmethod
    def absorb(self, committed: Sequence[Scored]) -> None:
        """Learn what the rows of a committed transaction teach."""

    @abstractmethod
    def begin_training_if_due(self, records: int) -> None:
        """Start a background training after the commit of record number `records`, if one is due."""

    @abstractmethod
    def checkpoint(self, records: int, batches: Sequence[Scored]) -> dict[str, Any]:
        """What a commit of these batches, up to record number `records`, carries of the learned state."""

    @abstractmethod
    def rows_to_compare(self, batch: Batch) -> NDArray[np.int64]:
        """The accepted rows of a batch that the reference may hold."""

    @abstractmethod
    def stop(self) -> None:
        """The engine has stopped."""

    @property
    def labels_applied(self) -> int:
        """What alerts say of the labels that their scores take into account: how many are in force."""
        return self.scorer.labels_applied if self.scorer else 0

    def status(self) -> dict[str, Any]:
        """What people want to know of it."""
        return {
            "version": self.scorer.version if self.scorer else None,
            "threshold": self.threshold,
            "labels": self._feed.book.counts(),
            "labels_applied": self._feed.book.position,
        }

    def _apply_labels(self, number: int, changes: Sequence[LabelChange] | None = None) -> None:
        """Apply these label changes, or those that the book knows to be due, before record `number`."""
        book, scorer = self._feed.book, self.scorer if self._feed.config.detector.head else None
        entries = book.apply(number, scorer) if changes is None else book.take(changes, number, scorer)
        if not entries:
            return
        self.applied += entries
        self._feed.on_step("label_apply")
        if self.scorer is not None:
            self.scorer.recalibrate()
        log.info("labels_applied", count=len(entries), total=self._feed.book.position)

    def _take_over(
        self,
        artifact: Artifact,
        number: int,
        open_batches: Sequence[Scored],
        codes: NDArray[np.int32],
    ) -> list[NDArray[np.int32]]:
        """Score with another version from record `number` on; `codes` [n, C] say which values are not rare.

        Returns what became of each code of the dictionary, field by field.
        """
        self._feed.on_step("swap")
        scorer = self._make_scorer(artifact)
        min_count = self._feed.config.features.min_count
        tables = self._feed.reader.rebuild(codes, scorer.model.encoder.categories, min_count)
        for scored in open_batches:
            scored.batch.codes = remap(scored.batch.codes, tables)
        self._adopt(scorer, number)
        self.promotions += 1
        log.info("model_active", version=scorer.version, at_record=number)
        return tables

    def _make_scorer(self, artifact: Artifact) -> Scorer:
        detector = self._feed.config.detector
        return Scorer(
            *artifact,
            device=detector.device,
            threads=detector.threads,
            reference_rows=self.reference_rows,
        )

    def _adopt(self, scorer: Scorer, number: int) -> None:
        scorer.bind(self._values())
        if self._feed.config.detector.head:
            self._feed.book.adopt(scorer)
        self._recalibrate(scorer)
        self.scorer, self.effective_at = scorer, number

    def reconfigured(self) -> None:
        """The budget may be another one."""
        if self.scorer is not None:
            self._recalibrate(self.scorer)

    @abstractmethod
    def _recalibrate(self, scorer: Scorer) -> None:
        """Bring p-values and threshold up to date."""

    def _values(self) -> tuple[tuple[str, ...], ...]:
        fields = len(self._feed.config.schema_.categories)
        return tuple(tuple(self._feed.dictionary.values(field)) for field in range(fields))
