"""Reading ahead: one thread polls the source and decodes, while the engine scores."""

from __future__ import annotations

import threading
from collections import deque
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

Item = Batch | End | Revoked


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

    def start(self, positions: Positions, first: int) -> None:
        """Read on from `positions`; the next record has the number `first`."""
        self._source.seek(positions)
        self._next = first
        self._stopping, self._error = False, None
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
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
        self._items.clear()

    def _run(self) -> None:
        try:
            while self._wait_for_room():
                got = self._source.poll(self._batch_records, self._poll_seconds)
                if not isinstance(got, Idle):
                    self._put(got)
                if isinstance(got, End):
                    return
        except Exception as error:  # noqa: BLE001  # handed to the engine's thread by take()
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._items) < self._depth)
            return not self._stopping

    def _put(self, got: Block | End | Revoked) -> None:
        with self._decoding:
            item: Item = self._decoder.decode(got, self._next) if isinstance(got, Block) else got
            if isinstance(item, Batch):
                self._next += len(item)
            with self._changed:
                self._items.append(item)
                self._changed.notify_all()
