"""The watch for drift beside the engine: what a commit carries of it, what is said, and when it starts anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from streamad.learning.drift import Drift, Seen
from streamad.learning.drift_monitors import FIT_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamad.learning.drift import Values
    from streamad.runtime.feed import LearningFeed
    from streamad.runtime.transaction import Scored

log = structlog.get_logger()


class DriftWatch:
    """Follows the commits: `prepare` before one, `commit` after it, so that an abort leaves no trace."""

    def __init__(self, feed: LearningFeed) -> None:
        options, schema = feed.config.training.drift, feed.config.schema_
        self._feed = feed
        self._retrain = options is not None and options.retrain
        self._drift = None if options is None else Drift(options, schema, feed.seed)
        self._next = self._drift

    @property
    def asks_since(self) -> int:
        """The record number before which the last drift was seen that models are to be trained for; 0: none was."""
        last = self._drift.last if self._drift and self._retrain else None
        return last["record"] if last else 0

    def prepare(self, batches: Sequence[Scored]) -> dict[str, Any]:
        """The parts of the checkpoint of a commit of these batches."""
        if self._drift is None:
            return {}
        self._next = self._drift.copy()
        self._next.take([Seen(one.batch, one.scores.p_value, one.version) for one in batches])
        return self._next.state()

    def commit(self, batches: Sequence[Scored], values: Callable[[], Values]) -> None:
        """The batches that were prepared are committed, and in the window."""
        if self._drift is None or self._next is None or not batches:
            return
        if self._next.last != self._drift.last:
            log.warning("drift", **(self._next.last or {}))
        self._drift = self._next
        self._drift.saved()
        self._begin(batches[-1].batch.first + len(batches[-1].batch), values)

    def bind(self, values: Values) -> None:
        """Read category codes of this dictionary from now on."""
        for drift in (self._drift, self._next):
            if drift is not None:
                drift.bind(values)

    def restore(self, checkpoint: Mapping[str, Any], values: Callable[[], Values]) -> None:
        """Go on from a checkpoint; the window is there again."""
        if self._drift is not None:
            self._drift.restore(checkpoint, values())
            self._begin(checkpoint["engine"]["records"], values)

    def status(self) -> dict[str, Any]:
        """How many alarms there were, and the last one; nothing where nothing is watched."""
        return {} if self._drift is None else {"drift": self._drift.status()}

    def _begin(self, records: int, values: Callable[[], Values]) -> None:
        assert self._drift is not None
        if self._drift.idle and len(self._feed.buffer) >= self._drift.rows_to_begin:
            self._drift.begin(self._feed.buffer.snapshot(FIT_ROWS), values(), records)
