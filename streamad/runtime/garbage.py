"""When Python searches for garbage in cycles: rarely while a feed runs, as each search looks at what is alive, too."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS = 50_000
"""So many more than there were, until the next search: the messages of a few batches live for less. With Python's own
number, in the hundreds, taking a message from Kafka costs twice as much."""


@contextmanager
def searched_rarely() -> Iterator[None]:
    """What was imported is not searched at all: that would take 0.2 s, every 5 s of a fast feed."""
    first, *rest = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *rest)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(first, *rest)
