"""Warnings about what may come in great numbers."""

from __future__ import annotations

from collections.abc import Callable

import structlog

log = structlog.get_logger()

_QUIET_SECONDS = 60.0


class Seldom:
    """Counts what is warned of, and warns at most once a minute."""

    def __init__(self, event: str, seconds: Callable[[], float]) -> None:
        """`seconds` is the time."""
        self._event, self._seconds = event, seconds
        self._count, self._first = 0, dict[str, object]()
        self._told = float("-inf")

    def add(self, **what: object) -> None:
        """One more; of the first since the last warning it is told what it was."""
        self._first = self._first if self._count else what
        self._count += 1

    def tell(self) -> None:
        """Warn, where there is something to tell and the last warning is a minute ago."""
        now = self._seconds()
        if self._count and now - self._told >= _QUIET_SECONDS:
            log.warning(self._event, count=self._count, **self._first)
            self._count, self._told = 0, now
