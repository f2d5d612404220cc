"""The eye on a running engine: a thread of its own that judges its health, and ends a process that is stuck."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from streamad.errors import WorldError
from streamad.runtime.health import Health, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamad.runtime.health import Status
    from streamad.runtime.systemd import Notifier

log = structlog.get_logger()

_TICK = 1.0

_GRACE = 10.0
"""Seconds that an engine may take to end in order."""

_LOOK_SECONDS = 0.05
"""More often than commits, so that what hangs in one was seen waiting for it."""


class Watch:
    """Called by the engine between any two steps; the thread, and whoever serves what it found, see copies only."""

    def __init__(self, limit: float, notifier: Notifier) -> None:
        """`limit` as in `Health`."""
        self._notifier = notifier
        self._tick = min(_TICK, limit / 4 or _TICK, notifier.every)
        self._health = Health(limit)
        self._beats, self._taken = 0, float("-inf")
        self._over = ""
        self._ended = threading.Event()
        self.status: Status | None = None
        """What the engine said last; replaced, never changed."""
        self.verdict = Verdict()

    def __call__(self, status: Callable[[], Status]) -> None:
        """Look at what the engine says, if it is time to. Raises `WorldError` where the process is to end."""
        self._beats += 1
        now = time.monotonic()
        if now - self._taken >= _LOOK_SECONDS:
            self.status, self._taken = status(), now
        over, self._over = self._over, ""
        if over:
            raise WorldError(over)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Judge, for as long as the process works."""
        thread = threading.Thread(target=self._run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self._notifier.stopping()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(self._tick):
            now = time.monotonic()
            # of a time in which the whole process was frozen, only a moment counts
            self._look(now, min(now - before, 2 * self._tick))
            before = now

    def _look(self, now: float, elapsed: float) -> None:
        before, verdict = self.verdict, self._health.judge(self.status, self._beats, elapsed)
        self.verdict = verdict
        if verdict.stalled and not before.stalled:
            log.error("stalled", why=verdict.stalled)
        if before.stalled and not verdict.stalled:
            log.info("goes_on_again")
        self._notifier.tell(verdict, started=self.status is not None, now=now)
        if verdict.over:
            self._end(verdict.stalled)

    def _end(self, why: str) -> None:
        """In order, if the engine gets to its next step; else at once, which loses nothing either."""
        self._over = why
        if not self._ended.wait(_GRACE):
            sys.stderr.write(f"streamad: {why}\n")
            sys.stderr.flush()
            os._exit(WorldError.exit_code)
