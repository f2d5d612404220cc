"""What other processes see of the engine, and the housekeeping that goes with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from streamad.runtime.clock import Clock
    from streamad.state.options import KeepOptions
    from streamad.state.store import Store

_BEAT_SECONDS, _PRUNE_SECONDS = 1.0, 10.0


class Pulse(Protocol):
    """What the engine calls between any two of its steps, and once it has stopped."""

    def __call__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Look at `status` if it is time to."""

    def last(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """The engine has stopped."""


class ShownPulse:
    """For an engine whose state lives elsewhere: only shows what it does."""

    def __init__(self, show: Callable[[Callable[[], Mapping[str, Any]]], None]) -> None:
        self._show = show

    def __call__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """See `Pulse`."""
        self._show(status)

    def last(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """See `Pulse`."""
        self._show(status)


class Heartbeat:
    """Called between any two steps of the engine; writes once a second, and when the engine stops."""

    def __init__(
        self,
        store: Store,
        keep: KeepOptions,
        artifacts: Path,
        clock: Clock,
        show: Callable[[Callable[[], Mapping[str, Any]]], None],
    ) -> None:
        self._store, self._keep, self._artifacts, self._clock = store, keep, artifacts, clock
        self._show = show
        self._beaten = self._pruned = float("-inf")

    def __call__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Tell what `status` says, if it is time to. Raises `StoreError` where the disk refuses."""
        self._show(status)
        now = self._clock.seconds()
        if now - self._beaten < _BEAT_SECONDS:
            return
        self._beat(status)
        if now - self._pruned >= _PRUNE_SECONDS:
            self._pruned = now
            self._store.prune(self._keep, self._artifacts)

    def last(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """The engine has stopped."""
        self._show(status)
        self._beat(status)

    def _beat(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self._beaten, found = self._clock.seconds(), status()
        self._store.beat(os.getpid(), found["state"], found)
