"""Which records a trainer takes of a feed that is faster than it: a share of all, by a hash of their places."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

_THINNEST = 1 << 16
_CALM = 256
"""Looks after which a rate that held is tried no less eagerly than at first."""

_PIECES = 100


class Thinning:
    """One record in 1, 2, 4 and so on, of every partition alike; each sample holds all thinner ones.

    Which records these are depends on partition and offset alone, and has nothing to do with who is held out.
    """

    def __init__(self, window: int) -> None:
        """`window` is how many records behind a trainer may be, and how many its memory of shares covers."""
        self._window = window
        self.one_in = 1
        self.share = 1.0
        """What share of the records that were passed the last window of those taken is. Asked from any thread."""
        self._behind, self._calm, self._patience = window, 0, 1
        self._pieces: deque[list[int]] = deque(maxlen=_PIECES + 1)  # [records taken, records passed]

    def look(self, behind: int) -> None:
        """Now and then: `behind` is how many records wait. Who falls back takes fewer, who keeps up tries more.

        Where that turns out to be too many, the next try is put off for twice as long.
        """
        late = behind > self._window and behind > self._behind
        self._behind = behind
        self._calm = self._calm + 1 if behind < self._window // 4 else 0
        if late:
            self.one_in, self._patience = min(self.one_in * 2, _THINNEST), min(self._patience * 2, _CALM)
        elif self._calm >= self._patience and self.one_in > 1:
            self.one_in, self._calm = self.one_in // 2, 0
        elif self._calm >= _CALM:
            self._patience = 1

    def take(self, records: Sequence[Message]) -> list[Message]:
        """Those of these records that are in the sample."""
        if self.one_in == 1:
            return [*records]
        numbers = np.fromiter(map(Message.partition, records), np.int64, len(records))
        offsets = np.fromiter(map(Message.offset, records), np.int64, len(records))
        kept = mixed(numbers, offsets) % np.uint64(self.one_in) == 0
        return [records[row] for row in np.flatnonzero(kept).tolist()]

    def passed(self, taken: int, passed: int) -> None:
        """So many records were taken, of so many that were passed."""
        if self._pieces and self._pieces[-1][0] < self._window // _PIECES:
            self._pieces[-1][0] += taken
            self._pieces[-1][1] += passed
        else:
            self._pieces.append([taken, passed])
        all_taken = sum(piece[0] for piece in self._pieces)
        self.share = all_taken / sum(piece[1] for piece in self._pieces) if all_taken else 1.0


def mixed(partitions: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The finaliser of MurmurHash3 (64 bits, Appleby) over each place [n]."""
    with np.errstate(over="ignore"):
        z = offsets.astype(np.uint64) + (partitions.astype(np.uint64) << np.uint64(44))
        z = (z ^ (z >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
        z = (z ^ (z >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
        out: NDArray[np.uint64] = z ^ (z >> np.uint64(33))
    return out
