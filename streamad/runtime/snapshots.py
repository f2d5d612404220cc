"""What a training starts from, put together of the live objects of a feed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamad.training.snapshot import Snapshot

if TYPE_CHECKING:
    from streamad.runtime.feed import LearningFeed
    from streamad.state.buffer import Buffer
    from streamad.state.past import Past, Values


def snapshot_of(
    feed: LearningFeed, buffer: Buffer, past: Past, values: Values, parent: int | None, label_position: int
) -> Snapshot:
    """The next version's: the window that `buffer` holds, what there is of the `past` before it, and all labels.

    `values` is the dictionary of the rows' codes, `label_position` how many label changes the head holds.
    """
    config, window = feed.config, buffer.snapshot()
    before = past.before(window.records)
    events, verdicts, labeled = feed.book.training_rows()
    budget = config.alerts.budget
    return Snapshot(
        numbers=np.concatenate([before.numbers, window.numbers]),
        codes=np.concatenate([before.codes, window.codes]),
        records=np.concatenate([before.records, window.records]),
        past=len(before),
        values=values,
        labeled_numbers=np.empty((0, len(config.schema_.numbers))),
        labeled_codes=np.empty((0, len(config.schema_.categories)), np.int32),
        labeled_records="\n".join(labeled),
        labeled_verdict=verdicts,
        labeled_events=tuple(events),
        label_position=label_position,
        schema=config.schema_,
        features=config.features,
        detector=config.detector,
        seed=feed.seed,
        version=feed.retraining.plan.last_version + 1,
        parent=parent,
        feed=config.feed,
        prior_rate=budget if isinstance(budget, float) else 0.001,
    )
