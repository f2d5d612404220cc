"""The active protocol of the UAI paper (Algorithm 1), and extremely randomised trees as its baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest

from streamad.bench.papers.datasets import DataSet

ActiveMethod = Callable[[DataSet, Sequence[int], int], list[float]]
"""A data set, the seeds and the number k of queries a round, to the F1 of each seed: the share of anomalies among
the rows asked about, when as many have been asked about as there are anomalies."""

_TREES = 300
_MANY_ROWS = 50_000
_MANY_ROWS_TREES, _MANY_ROWS_GROWTH = 100, 1.1
_KDD_QUERIES = 200


def queries_a_round(data: DataSet) -> int:
    """The paper's k: 10, or 3 where fewer than 100 anomalies are to be found; 200 on KDDCUP, which runs apart."""
    if data.family is not None:
        return _KDD_QUERIES
    return 10 if data.y.sum() >= 100 else 3


def active_trees(data: DataSet, seeds: Sequence[int], k: int) -> list[float]:
    """An isolation forest asks until both answers were given; then trees on the answers, the forest breaking ties.

    300 trees, classes weighted to balance, grown anew after each round. On more than 50,000 distinct rows 100 trees,
    grown anew when there are a tenth more answers. Equal rows are scored once.
    """
    rows, place = np.unique(data.x, axis=0, return_inverse=True)
    return [_search(rows, place.ravel(), data.y, seed, k) for seed in seeds]


def _search(
    rows: NDArray[np.float64], place: NDArray[np.int64], y: NDArray[np.int8], seed: int, k: int
) -> float:
    """F1 of one run over the distinct rows [m, D]; `place` [n] finds each record among them."""
    budget = int(y.sum())
    base = -IsolationForest(random_state=seed).fit(rows[place]).score_samples(rows)
    queue = _ranked(base[place], base[place], seed)
    asked = queue[:0]
    growth = 1.0 if len(rows) <= _MANY_ROWS else _MANY_ROWS_GROWTH
    due = 0.0
    while len(asked) < budget:
        if len(asked) >= due and len(np.unique(y[asked])) == 2:
            learned = _learned(rows, place[asked], y[asked], seed)
            queue, due = _ranked(learned[place], base[place], seed), growth * len(asked)
        queue = queue[~np.isin(queue, asked)]
        asked = np.concatenate([asked, queue[: min(k, budget - len(asked))]])
    return float(y[asked].mean())


def _learned(
    rows: NDArray[np.float64], labeled: NDArray[np.int64], y: NDArray[np.int8], seed: int
) -> NDArray[np.float64]:
    """Probabilities [m] of all distinct rows by trees on the labeled ones."""
    count = _TREES if len(rows) <= _MANY_ROWS else _MANY_ROWS_TREES
    trees = ExtraTreesClassifier(count, class_weight="balanced", random_state=seed)
    found: NDArray[np.float64] = trees.fit(rows[labeled], y).predict_proba(rows)[:, 1]
    return found


def _ranked(first: NDArray[np.float64], then: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Rows by falling score; ties by the second score, then at random."""
    chance = np.random.default_rng(seed).permutation(len(first))
    return np.lexsort((chance, -then, -first))
