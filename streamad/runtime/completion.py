"""Labels that came without their record get it, from the active trainer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from streamad.errors import InputError, StoreError
from streamad.learning.given import COMPLETES
from streamad.seldom import Seldom

if TYPE_CHECKING:
    from streamad.ports import GivenLabel, Lookup
    from streamad.records.decoder import Decoder
    from streamad.runtime.clock import Clock

_STEP_SECONDS = 0.1
"""So long records are looked up between two batches."""

_AGAIN_SECONDS = 3.0
"""How often it is looked for records that had not come yet."""


class Completion:
    """Looks up the record of each label once it is there, and says the label again with it."""

    def __init__(
        self, feed: str, waiting: Mapping[str, GivenLabel], lookup: Lookup, decoder: Decoder, clock: Clock
    ) -> None:
        """`waiting` is `GivenLabels.incomplete`, as it stands at any time."""
        self._feed, self._waiting, self._lookup, self._decoder = feed, waiting, lookup, decoder
        self._clock = clock
        self._queue: deque[GivenLabel] = deque()
        self._later: list[GivenLabel] = []
        self._again = 0.0
        self.lost = 0
        """Labels whose record is nowhere."""
        self._losses = Seldom("labels_without_record", clock.seconds)

    def add(self, labels: Iterable[GivenLabel]) -> None:
        """Take in labels that need their record."""
        self._queue.extend(labels)

    def step(self, say: Callable[[Mapping[str, Any]], None]) -> None:
        """Complete what can be, for a moment; `say` may raise `StoreError` for a label that is too large."""
        now = self._clock.seconds()
        if self._later and now >= self._again:
            self._queue.extend(self._later)
            self._later.clear()
        while self._queue and self._clock.seconds() < now + _STEP_SECONDS:
            self._complete(self._queue.popleft(), say)

    def _complete(self, given: GivenLabel, say: Callable[[Mapping[str, Any]], None]) -> None:
        event = given.label["event_id"]
        if self._waiting.get(event) is not given:
            return  # its record has come with another label, or another verdict waits for it
        try:
            record = self._record(event)
            if record is None:
                self._put_off(given)
            else:
                say({**given.label, "record": record, COMPLETES: given.number})
        except (InputError, StoreError) as error:
            self._lose(event, error)

    def _put_off(self, given: GivenLabel) -> None:
        if not self._later:
            self._again = self._clock.seconds() + _AGAIN_SECONDS
        self._later.append(given)

    def _record(self, event: str) -> dict[str, Any] | None:
        """None where it is not there yet. Raises `InputError` where there is none."""
        block = self._lookup.payload(event.removeprefix(f"{self._feed}/"))
        if block is None:
            return None
        record = {} if block.faults else self._decoder.record_of(block, 0)
        if not record:
            raise InputError("what lies there is no record")
        return record

    def _lose(self, event: str, reason: Exception) -> None:
        self.lost += 1
        self._losses.add(of=event, reason=str(reason))
        self._losses.tell()
