"""Peers around scikit-learn's forests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.ensemble import IsolationForest

from streamad.bench.stream.analyst import WARM_UP
from streamad.bench.stream.peers import Peer, Unlabeled, table_of
from streamad.records.kdd import KDD_CATEGORICAL, KDD_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamad.bench.stream.analyst import Answer
    from streamad.bench.stream.streams import Stream

_EVERY, _WINDOW = 25_000, 50_000
"""As often as streamad trains in the benchmark, on as many records."""

_NUMBERS: Final = tuple(name for name in KDD_FIELDS if name not in KDD_CATEGORICAL)
_SRC_BYTES = _NUMBERS.index("src_bytes")


class Forest(Unlabeled):
    """An isolation forest of 100 trees, fitted on the first records and, unless `once`, again every so many."""

    def __init__(self, stream: Stream, seed: int, *, once: bool = False) -> None:
        self._x, self._seed, self._once = table_of(stream).x, seed, once
        self._fitted = 0
        self._fit(WARM_UP)

    def take(self, start: int, stop: int) -> NDArray[np.float64]:
        """See `Peer.take`."""
        if not self._once and start - self._fitted >= _EVERY:
            self._fit(start)
        scores: NDArray[np.float64] = -self._forest.score_samples(self._x[start:stop])
        return scores

    def _fit(self, stop: int) -> None:
        window = self._x[max(stop - _WINDOW, 0) : stop]
        self._forest = IsolationForest(n_estimators=100, random_state=self._seed).fit(window)
        self._fitted = stop


class Lookup(Peer):
    """What analysts said of the same protocol, service, flag and src_bytes; an isolation forest ranks the rest.

    The forest is fitted once. With `new_only` it asks about nothing that it has a verdict on, else by its score alone.
    """

    def __init__(self, stream: Stream, seed: int, *, new_only: bool = False) -> None:
        table = table_of(stream)
        self._forest, self._new_only = Forest(stream, seed, once=True), new_only
        columns = np.column_stack([table.codes, table.numbers[:, _SRC_BYTES]])
        self._key = np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)  # [n]
        self._verdicts = np.zeros(
            self._key.max() + 1
        )  # of each key: 1 anomaly, -1 normal, 0 none; the last one counts

    def take(self, start: int, stop: int) -> NDArray[np.float64]:
        """See `Peer.take`. The forest's scores lie between 0 and 1."""
        return self._forest.take(start, stop) + self._verdicts[self._key[start:stop]]

    def learn(self, answers: Sequence[Answer]) -> None:
        """See `Peer.learn`."""
        for row, anomalous in answers:
            self._verdicts[self._key[row]] = 1 if anomalous else -1

    def wishes(self, scores: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `Peer.wishes`."""
        known = self._new_only & (self._verdicts[self._key[rows]] != 0)
        return np.where(known, -np.inf, scores[rows])
