"""How fast a replay may go."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from streamad.records.batch import MISSING_TIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamad.records.batch import Batch
    from streamad.runtime.clock import Clock

_SLICE_SECONDS = 0.05


class Pace:
    """Holds a replay to `rate` records a second, or to `speed` times its event time; neither: full speed."""

    def __init__(self, clock: Clock, stop: threading.Event, rate: float | None, speed: float | None) -> None:
        self._clock, self._stop, self._rate, self._speed = clock, stop, rate, speed
        self._began: float | None = None
        self._first_time: int | None = None
        self._records = 0

    def wait(self, batch: Batch, beat: Callable[[], None]) -> None:
        """Sleep until this batch may go on, telling others by `beat` that all is well; a stop ends the sleep.

        In slices, since waiting for `stop` itself takes a lock that the signal handler needs to set it.
        """
        if self._began is None:
            self._began = self._clock.seconds()
        self._records += len(batch)
        due = self._began + self._offset(batch)
        while not self._stop.is_set() and (pause := due - self._clock.seconds()) > 0:
            beat()
            time.sleep(min(pause, _SLICE_SECONDS))

    def _offset(self, batch: Batch) -> float:
        if self._rate:
            return self._records / self._rate
        times = batch.times[batch.times != MISSING_TIME]
        if not self._speed or not len(times):
            return 0.0
        if self._first_time is None:
            self._first_time = int(times[0])
        return (int(times[-1]) - self._first_time) / 1e6 / self._speed
