"""The outbox: one thread an outlet, which pushes committed alerts out of the store and never holds it up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import structlog

from streamad.errors import StoreError
from streamad.ports import Outlet
from streamad.state.store import Store

_LINES = 500
"""Alerts delivered at once; the mark is written after each delivery."""

_FIRST_DELAY, _LAST_DELAY = 1.0, 30.0
_QUIET = 60.0
"""Seconds between two warnings."""

_Result = TypeVar("_Result")
log = structlog.get_logger()


class _GivenUpError(Exception):
    """The outbox is closing and the outlet does not take what is left."""


class Outbox:
    """Delivers alerts to one outlet, in order, each at least once, going on where the last run stopped.

    `open_store` is called in the outbox's thread; `seconds` is a clock that only goes forward.
    """

    def __init__(
        self, name: str, outlet: Outlet, open_store: Callable[[], Store], seconds: Callable[[], float]
    ) -> None:
        self._name, self._outlet, self._open_store, self._seconds = name, outlet, open_store, seconds
        self._woken, self._closing, self._delivered = threading.Event(), threading.Event(), threading.Event()
        self._failures, self._warned_at = 0, float("-inf")
        # A daemon thread: an outlet that blocks for ever must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"outbox-{name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def wake(self) -> None:
        """There may be new alerts. Returns at once."""
        self._woken.set()

    def close(self, timeout: float) -> bool:
        """Deliver what is left within `timeout` seconds; returns whether all of it went out.

        An outlet that still blocks then is abandoned; the next run goes on where it stopped.
        """
        self._closing.set()
        self._woken.set()
        self._thread.join(timeout)
        return self._delivered.is_set()

    def _run(self) -> None:
        try:
            with self._open_store() as store:
                self._deliver_all(store)
            self._delivered.set()
        except _GivenUpError:
            pass
        except BrokenPipeError:
            log.info("outlet_closed", outlet=self._name)
        except Exception:  # whatever an outlet raises: the stream goes on without it
            log.exception("outlet_failed", outlet=self._name)
        finally:
            self._outlet.close()

    def _deliver_all(self, store: Store) -> None:
        """Deliver until the outbox is closed and nothing is left."""
        mark: Mapping[str, Any] | None
        place, mark = self._insist(lambda: store.outbox_mark(self._name))
        self._insist(lambda: self._outlet.resume(mark))
        while True:
            # Cleared before reading: what is committed from here on wakes it again.
            self._woken.clear()
            closing = self._closing.is_set()
            rows = self._insist(lambda: store.outbox_after(place, _LINES))  # noqa: B023  # called at once
            if rows:
                place, mark = self._deliver(store, rows, mark)
            elif closing:
                return
            else:
                self._woken.wait()

    def _deliver(
        self, store: Store, rows: list[tuple[int, bytes | None]], mark: Mapping[str, Any] | None
    ) -> tuple[int, Mapping[str, Any] | None]:
        """Push what is not muted; returns the place and the mark from which to go on."""
        lines = [line for _, line in rows if line is not None]
        if lines:
            mark = self._insist(lambda: self._outlet.deliver(lines))
        place = rows[-1][0]
        self._insist(lambda: store.set_outbox_mark(self._name, place, mark))
        return place, mark

    def _insist(self, attempt: Callable[[], _Result]) -> _Result:
        """Try until it works; with less and less haste, and not again once the outbox is closing."""
        delay = _FIRST_DELAY
        while True:
            try:
                return attempt()
            except BrokenPipeError:
                raise
            except (OSError, StoreError) as error:
                if self._closing.is_set():
                    raise _GivenUpError from error
                self._warn(error)
            self._closing.wait(delay)
            delay = min(2 * delay, _LAST_DELAY)

    def _warn(self, error: Exception) -> None:
        self._failures += 1
        now = self._seconds()
        if now - self._warned_at >= _QUIET:
            log.warning("outlet_waits", outlet=self._name, error=str(error), failures=self._failures)
            self._warned_at, self._failures = now, 0
