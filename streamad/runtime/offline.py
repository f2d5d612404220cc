"""``streamad fit``: a version trained on what the source holds, without scoring anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamad.errors import InputError, TrainingError
from streamad.ports import End, Idle
from streamad.records.batch import Block
from streamad.runtime.learner import Learner
from streamad.training.trainer import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamad.runtime.feed import LearningFeed


def fit_offline(feed: LearningFeed, keep_waiting: Callable[[], bool]) -> int | None:
    """Fit the last window of a bounded source, or the first of an endless one; returns the version.

    None where `keep_waiting` said no. Raises `InputError` for a source without a readable record and
    `TrainingError` where the trainer failed.
    """
    learner = Learner(feed)
    read, accepted = _read(feed, learner)
    if not accepted:
        raise InputError(f"none of the {read:,} records of the source fits the schema")
    feed.book.restore(feed.log_entries)
    if news := feed.news():
        feed.book.receive(news.changes, news.waiting)
    # Labels that no run has applied yet are learned from too; the next run still applies them, in its order.
    feed.book.apply(read, None)
    learner.begin_training(feed.buffer, read, label_position=len(feed.log_entries))
    outcome = learner.wait(keep_waiting)
    if isinstance(outcome, Failed):
        raise TrainingError(f"the training failed: {outcome.reason}")
    return None if outcome is None else int(outcome[0]["version"])


def _read(feed: LearningFeed, learner: Learner) -> tuple[int, int]:
    """Read into the buffer; returns the records read and how many of them are good."""
    limits, window = feed.config.limits, feed.config.training.window
    read = accepted = 0
    feed.source.seek({})
    while True:
        got = feed.source.poll(limits.batch_records, limits.poll_ms / 1000)
        if isinstance(got, End) or (isinstance(got, Idle) and accepted):
            return read, accepted
        if isinstance(got, Block):
            batch = feed.decoder.decode(got, read)
            learner.append(feed.buffer, batch)
            read += len(batch)
            accepted += len(batch) - len(batch.rejections)
            if feed.source.progress() is None and accepted >= window.records:
                return read, accepted
