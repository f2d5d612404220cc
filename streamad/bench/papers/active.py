"""The active protocol of the UAI paper (Algorithm 1), and extremely randomised trees as its baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest

from streamad.bench.papers.datasets import DataSet

Rows = NDArray[np.int64]

ActiveMethod = Callable[[DataSet, Sequence[int], int], list[float]]
"""A data set, the seeds and the number k of queries a round, to the F1 of each seed: the share of anomalies among
the rows asked about, when as many have been asked about as there are anomalies."""

NoveltyMethod = Callable[[DataSet, NDArray[np.float64], int, int, Sequence[int]], list[NDArray[np.float64]]]
"""A data set to ask about, test rows [t, D], a seed, the queries k a round and rising numbers of answers, to the test
scores [t] after each number of answers; 0 answers come first."""

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
    budget = int(data.y.sum())
    rows, place = distinct(data.x)
    return [float(data.y[_asked(rows, place, data.y, seed, k, budget)].mean()) for seed in seeds]


def active_trees_on_new_rows(
    data: DataSet, test_x: NDArray[np.float64], seed: int, k: int, answers: Sequence[int]
) -> list[NDArray[np.float64]]:
    """The same search; its trees, or with answers of one kind the isolation forest, then score the test rows."""
    rows, place = distinct(data.x)
    asked = _asked(rows, place, data.y, seed, k, max(answers))
    forest = IsolationForest(random_state=seed).fit(data.x)
    found = []
    for number in answers:
        known = asked[:number]
        if len(np.unique(data.y[known])) == 2:
            found.append(_trees(data.x[known], data.y[known], len(rows), seed).predict_proba(test_x)[:, 1])
        else:
            found.append(-forest.score_samples(test_x))
    return found


def distinct(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The distinct rows [m, D], and where each row of x is among them [n]."""
    rows, place = np.unique(x, axis=0, return_inverse=True)
    return rows, place.ravel()


def _asked(
    rows: NDArray[np.float64], place: NDArray[np.int64], y: NDArray[np.int8], seed: int, k: int, budget: int
) -> NDArray[np.int64]:
    """The records that one search asks about, in order: `budget`, or all."""
    base = -IsolationForest(random_state=seed).fit(rows[place]).score_samples(rows)
    queue = _ranked(base[place], base[place], seed)
    asked = queue[:0]
    growth = 1.0 if len(rows) <= _MANY_ROWS else _MANY_ROWS_GROWTH
    due = 0.0

    def ranked() -> Rows:
        nonlocal queue, due
        if len(asked) >= due and len(np.unique(y[asked])) == 2:
            trees = _trees(rows[place[asked]], y[asked], len(rows), seed)
            queue = _ranked(trees.predict_proba(rows)[:, 1][place], base[place], seed)
            due = growth * len(asked)
        return queue

    def learn(answered: Rows) -> None:
        nonlocal asked
        asked = np.concatenate([asked, answered])

    return ask_in_rounds(len(y), k, ranked, learn, budget)


def ask_in_rounds(
    count: int, k: int, ranked: Callable[[], Rows], learn: Callable[[Rows], None], budget: int
) -> Rows:
    """Which of `count` rows are asked about, in order: `budget` of them, or all.

    Each round asks about the first k of `ranked` that were not asked about, whose answers are learned.
    """
    open_ = np.ones(count, dtype=np.bool_)
    asked: list[Rows] = []
    left = min(budget, count)
    while left:
        order = ranked()
        chosen = order[open_[order]][: min(k, left)]
        open_[chosen] = False
        left -= len(chosen)
        asked.append(chosen)
        learn(chosen)
    return np.concatenate(asked)


def _trees(x: NDArray[np.float64], y: NDArray[np.int8], distinct: int, seed: int) -> ExtraTreesClassifier:
    """Trees on the answers; fewer of them where many distinct rows are to be scored."""
    count = _TREES if distinct <= _MANY_ROWS else _MANY_ROWS_TREES
    return ExtraTreesClassifier(count, class_weight="balanced", random_state=seed).fit(x, y)


def _ranked(first: NDArray[np.float64], then: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Rows by falling score; ties by the second score, then at random."""
    chance = np.random.default_rng(seed).permutation(len(first))
    return np.lexsort((chance, -then, -first))
