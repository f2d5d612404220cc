"""Peers that know nothing but the labels, with an isolation forest for as long as there are none of both kinds."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from streamad.bench.stream.forests import Forest
from streamad.bench.stream.peers import Peer, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamad.bench.stream.analyst import Answer
    from streamad.bench.stream.streams import Stream

_TIES = 1e-3
"""What the forest adds to a probability: among records that the labels cannot tell apart it decides."""


class Supervised(Peer):
    """A classifier of labeled records; until it has met both verdicts it asks and ranks as the forest does."""

    def __init__(self, stream: Stream, seed: int) -> None:
        self.x, self.seed = table_of(stream).x, seed
        self._forest = Forest(stream, seed)
        self.rows: list[int] = []
        """The labeled records, in the order of their answers."""
        self.anomalous: list[bool] = []
        """What was said of each."""

    @abstractmethod
    def fit(self, new: int) -> None:
        """Learn; the last `new` labels have not been met before. Both verdicts are there."""

    @abstractmethod
    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """[n] from 0 to 1, of rows [n, D]."""

    def take(self, start: int, stop: int) -> NDArray[np.float64]:
        """See `Peer.take`. Below 0 while the forest speaks, so that what came before is not preferred later."""
        ordinary = self._forest.take(start, stop)
        if not self._knows():
            return ordinary - 1
        return self.probabilities(self.x[start:stop]) + _TIES * ordinary

    def learn(self, answers: Sequence[Answer]) -> None:
        """See `Peer.learn`."""
        knew = self._knows()
        self.rows += [answer.row for answer in answers]
        self.anomalous += [answer.anomalous for answer in answers]
        if self._knows():
            self.fit(len(answers) if knew else len(self.rows))

    def _knows(self) -> bool:
        return len(set(self.anomalous)) == 2


class Trees(Supervised):
    """ExtraTrees of 100 trees, fitted anew whenever answers arrive."""

    def fit(self, new: int) -> None:
        """See `Supervised.fit`."""
        del new
        forest = ExtraTreesClassifier(100, class_weight="balanced", random_state=self.seed)
        self._trees = forest.fit(self.x[self.rows], self.anomalous)

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Supervised.probabilities`."""
        found: NDArray[np.float64] = self._trees.predict_proba(x)[:, 1]
        return found


class Nearest(Supervised):
    """How much nearer the nearest labeled anomaly is than the nearest labeled normal record."""

    def fit(self, new: int) -> None:
        """See `Supervised.fit`."""
        del new
        anomalous = np.array(self.anomalous)
        self._labeled = [self.x[self.rows][anomalous], self.x[self.rows][~anomalous]]

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Supervised.probabilities`."""
        anomaly, normal = (_distances(x, rows).min(axis=1) for rows in self._labeled)
        found: NDArray[np.float64] = (normal + 1e-9) / (normal + anomaly + 2e-9)
        return found


def _distances(x: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """[n, m] Euclidean."""
    squares = (x.astype(np.float64) ** 2).sum(axis=1)[:, None] + (rows.astype(np.float64) ** 2).sum(axis=1)
    found: NDArray[np.float64] = np.sqrt(np.maximum(squares - 2.0 * x.astype(np.float64) @ rows.T, 0.0))
    return found
