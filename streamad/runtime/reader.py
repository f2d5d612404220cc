"""Reading ahead: one thread polls the source and decodes, while the engine scores."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamad.ports import End, Idle, Revoked
from streamad.records.batch import Batch, Block

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from streamad.ports import Positions, Source
    from streamad.records.decoder import Decoder
    from streamad.records.dictionary import Dictionary

_FULL_SECONDS = 0.1
"""A source that may not give rows, since the queue is full, is served this often."""
RELEASE_SECONDS = 8.0
"""How long partitions that go elsewhere wait for their last commit: less than a transaction may last."""


@dataclass(frozen=True, slots=True)
class Release:
    """Partitions that are about to go to somebody else: commit what was scored of them, then say so."""

    partitions: tuple[str, ...]
    done: threading.Event = field(default_factory=threading.Event)


Item = Batch | End | Release | Revoked


class Reader:
    """At most `depth` decoded batches ahead of the engine; a full queue is the back-pressure."""

    def __init__(
        self,
        source: Source,
        decoder: Decoder,
        dictionary: Dictionary,
        *,
        batch_records: int,
        poll_seconds: float,
        depth: int,
    ) -> None:
        self._source, self._decoder, self._dictionary = source, decoder, dictionary
        self._batch_records, self._poll_seconds, self._depth = batch_records, poll_seconds, depth
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._decoding = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._error: Exception | None = None
        self._target: tuple[Positions, int] | None = None  # where to read on from, once the poll is over
        self._released: frozenset[str] = frozenset()

    def start(self, positions: Positions, first: int) -> None:
        """Read on from `positions`; the next record has the number `first`."""
        self._source.seek(positions)
        self._next = first
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> Item | Idle:
        """The next item in order, or `Idle`. Raises what the source raised, after all that was read before."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._error, timeout):
                return Idle()
            if not self._items:
                assert self._error is not None
                raise self._error
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def take_mark(self, timeout: float) -> Release | Revoked | Idle:
        """The next thing that is no record, before all records; for an engine that can take no more of these."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or any(map(_is_mark, self._items)), timeout)
            if self._error:
                raise self._error
            for item in self._items:
                if isinstance(item, Release | Revoked):
                    self._items.remove(item)
                    return item
        return Idle()

    def rewind(self, positions: Positions, first: int) -> None:
        """Drop the records read ahead and read on from `positions`; the next record has the number `first`."""
        with self._changed:
            self._items = deque(item for item in self._items if _is_mark(item))
            self._target = positions, first
            self._changed.notify_all()

    def release(self, partitions: tuple[str, ...]) -> None:
        """`SourceContext.release`: waits until the engine has committed or dropped all rows of `partitions`."""
        mark = Release(partitions)
        with self._changed:
            self._items = deque([mark])  # the engine rewinds to what it has committed
            self._changed.notify_all()
        mark.done.wait(RELEASE_SECONDS)
        self._released = frozenset(partitions) if mark.done.is_set() else frozenset()

    def unread(self, items: Sequence[Item]) -> None:
        """Put items back that were taken, in order, before all others."""
        with self._changed:
            self._items.extendleft(reversed(items))
            self._changed.notify_all()

    def rebuild(
        self, codes: NDArray[np.int32], keep: Sequence[Sequence[str]], min_count: int
    ) -> list[NDArray[np.int32]]:
        """Begin a new generation of the dictionary and decode again what was read ahead, in order.

        So which values the dictionary holds depends on the order of the records alone, never on how far
        ahead the reader happened to be.
        """
        with self._decoding, self._changed:
            tables = self._dictionary.rebuild(codes, keep, min_count)
            self._items = deque(
                self._decoder.decode(item.block, item.first) if isinstance(item, Batch) else item
                for item in self._items
            )
        return tables

    def stop(self, timeout: float = 2.0) -> None:
        """End the thread and drop what was read ahead. A source that is stuck in a read is left behind."""
        with self._changed:
            self._stopping = True
            for item in self._items:
                if isinstance(item, Release):
                    item.done.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
        self._items.clear()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._go_to_target()
                room = self._has_room()
                got = self._source.poll(self._batch_records if room else 0, self._poll_seconds if room else 0)
                if not isinstance(got, Idle):
                    self._put(got)
                if isinstance(got, End):
                    self._wait_for_target()
        except Exception as error:  # noqa: BLE001  # handed to the engine's thread by take()
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _go_to_target(self) -> None:
        with self._changed:
            target, self._target = self._target, None
        if target is not None:
            self._source.seek(target[0])
            self._next = target[1]

    def _has_room(self) -> bool:
        """Whether the engine is less than `depth` items behind; waits a moment for it."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or self._target or len(self._items) < self._depth, _FULL_SECONDS
            )
            return len(self._items) < self._depth and not (self._target or self._stopping)

    def _wait_for_target(self) -> None:
        """A bounded source has ended: there is more only after a rewind."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._target)

    def _put(self, got: Block | End | Revoked) -> None:
        with self._decoding:
            item: Item = self._decoder.decode(got, self._next) if isinstance(got, Block) else got
            with self._changed:
                if isinstance(item, Revoked):
                    if self._released.issuperset(item.partitions):
                        return  # the engine knows
                elif self._target is not None:
                    return  # read again from there
                if isinstance(item, Batch):
                    self._next += len(item)
                self._items.append(item)
                self._changed.notify_all()


class Handover:
    """`SourceContext.release` of a source, which is opened before its reader."""

    reader: Reader | None = None

    def __call__(self, partitions: tuple[str, ...]) -> None:
        """Ask the reader, once there is one."""
        if self.reader is not None:
            self.reader.release(partitions)


def _is_mark(item: Item) -> bool:
    return isinstance(item, Release | Revoked)
