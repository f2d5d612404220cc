"""Peers of other packages that take one record at a time: River's, and PySAD's where that is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from river.anomaly import HalfSpaceTrees
from river.compose import Pipeline
from river.forest import ARFClassifier
from river.linear_model import LogisticRegression
from river.preprocessing import MinMaxScaler, StandardScaler

from streamad.bench.stream.analyst import WARM_UP
from streamad.bench.stream.peers import Unlabeled, table_of
from streamad.bench.stream.supervised import Supervised

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from streamad.bench.stream.streams import Stream


class HalfSpace(Unlabeled):
    """River's half-space trees behind its MinMaxScaler, as its documentation has them."""

    def __init__(self, stream: Stream, seed: int) -> None:
        self._x = table_of(stream).x
        self._model = Pipeline(MinMaxScaler(), HalfSpaceTrees(seed=seed))

    def take(self, start: int, stop: int) -> NDArray[np.float64]:
        """See `Peer.take`."""
        scores = np.empty(stop - start)
        for i, record in enumerate(_records(self._x[start:stop])):
            scores[i] = self._model.score_one(record)
            self._model.learn_one(record)
        return scores


class _River(Supervised):
    """A classifier of River, taught one answer at a time."""

    model: Any

    def fit(self, new: int) -> None:
        """See `Supervised.fit`."""
        rows, verdicts = self.rows[-new:], self.anomalous[-new:]
        for record, anomalous in zip(_records(self.x[rows]), verdicts, strict=True):
            self.model.learn_one(record, anomalous)

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Supervised.probabilities`."""
        return np.array([self.model.predict_proba_one(record).get(True, 0.0) for record in _records(x)])


class Logistic(_River):
    """River's logistic regression behind its StandardScaler, which needs no labels and so learns from all records."""

    def __init__(self, stream: Stream, seed: int) -> None:
        super().__init__(stream, seed)
        self._scaler: Any = StandardScaler()
        self.model = Pipeline(self._scaler, LogisticRegression())

    def take(self, start: int, stop: int) -> NDArray[np.float64]:
        """See `Peer.take`."""
        scores = super().take(start, stop)
        for record in _records(self.x[start:stop]):
            self._scaler.learn_one(record)
        return scores


class AdaptiveForest(_River):
    """River's adaptive random forest with its defaults."""

    def __init__(self, stream: Stream, seed: int) -> None:
        super().__init__(stream, seed)
        self.model = ARFClassifier(seed=seed)


class Pysad(Unlabeled):
    """A model of PySAD with its defaults; `make` gets its module, the [10,000, D] first records and the seed."""

    def __init__(
        self, stream: Stream, seed: int, make: Callable[[Any, NDArray[np.float64], int], Any]
    ) -> None:
        self._x = table_of(stream).x.astype(np.float64)
        self._model = make(importlib.import_module("pysad.models"), self._x[:WARM_UP], seed)

    def take(self, start: int, stop: int) -> NDArray[np.float64]:
        """See `Peer.take`."""
        found = [self._model.fit_score_partial(row) for row in self._x[start:stop]]
        return np.array([float(np.ravel(score)[0]) for score in found])


def _records(x: NDArray[np.float32]) -> Iterator[dict[int, float]]:
    """River's records: a dict for each row, the columns' numbers as names."""
    for row in x:
        yield dict(enumerate(row.tolist()))
