"""What a sceptic tries first: scikit-learn's detectors and classifiers, untuned, on standardised features.

Each baseline takes the splits of all seeds with the seeds, and gives test scores, higher = more anomalous. The
unsupervised ones train on the rows without a label; features are standardised by the rows that train.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from streamad.bench.papers.protocols import ANOMALY, Split

Scores = NDArray[np.float64]

Method = Callable[[Sequence[Split], Sequence[int]], list[Scores]]
"""Splits of one data set and a seed for each, to test scores [t] of each split; all seeds at once, so that a method
may train them together."""

Codes = Callable[[Sequence[Split], Sequence[int]], list[tuple[NDArray[np.float64], NDArray[np.float64]]]]
"""Splits and seeds to the representations of their training rows [n, d] and test rows [t, d]."""

_TREES = 300
_NEIGHBOURS = 5
_KERNEL_ROWS = 10_000
_DENSITY_ROWS = 2_000
_NEIGHBOUR_ROWS = 20_000


def for_each(score: Callable[[Split, int], Scores]) -> Method:
    """The method that scores split by split."""

    def method(splits: Sequence[Split], seeds: Sequence[int]) -> list[Scores]:
        return [score(split, seed) for split, seed in zip(splits, seeds, strict=True)]

    return method


def on_codes(codes: Codes, method: Method) -> Method:
    """A hybrid: `method` on representations instead of features."""

    def hybrid(splits: Sequence[Split], seeds: Sequence[int]) -> list[Scores]:
        pairs = codes(splits, seeds)
        coded = [replace(s, train_x=a, test_x=b) for s, (a, b) in zip(splits, pairs, strict=True)]
        return method(coded, seeds)

    return hybrid


def one_class_svm(split: Split, seed: int) -> Scores:
    """RBF kernel, scikit-learn's defaults (nu 0.5, gamma by the "scale" rule); at most 10,000 training rows."""
    train, test = unlabeled_and_test(split)
    machine = OneClassSVM().fit(_drawn(train, _KERNEL_ROWS, seed))
    return _float(-machine.score_samples(test))


def isolation_forest(split: Split, seed: int) -> Scores:
    """100 trees of 256 rows each, scikit-learn's defaults."""
    train, test = unlabeled_and_test(split)
    return _float(-IsolationForest(random_state=seed).fit(train).score_samples(test))


def kernel_density(split: Split, seed: int) -> Scores:
    """Gaussian kernel, bandwidth by Scott's rule; at most 2,000 training rows."""
    train, test = unlabeled_and_test(split)
    density = KernelDensity(bandwidth="scott").fit(_drawn(train, _DENSITY_ROWS, seed))
    return _float(-density.score_samples(test))


def neighbours(split: Split, seed: int) -> Scores:
    """Mean distance to the five nearest of the unlabeled training rows, of which at most 20,000 are used."""
    train, test = unlabeled_and_test(split)
    rows = _drawn(train, _NEIGHBOUR_ROWS, seed)
    index = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(rows))).fit(rows)
    return _float(index.kneighbors(test)[0].mean(axis=1))


def extra_trees(split: Split, seed: int) -> Scores:
    """300 trees that tell the labeled anomalies from the rest, classes weighted to balance."""
    trees = ExtraTreesClassifier(_TREES, class_weight="balanced", random_state=seed)
    train, test = all_and_test(split)
    return _float(trees.fit(train, split.train_y == ANOMALY).predict_proba(test)[:, 1])


def logistic_regression(split: Split, seed: int) -> Scores:
    """Linear, of the labeled anomalies against the rest, classes weighted to balance."""
    line = LogisticRegression(class_weight="balanced", max_iter=5_000, random_state=seed)
    train, test = all_and_test(split)
    return _float(line.fit(train, split.train_y == ANOMALY).decision_function(test))


def trees_and_neighbours(split: Split, seed: int) -> Scores:
    """Mean of the ranks that a test row has among the test rows by `extra_trees` and by `neighbours`.

    Without a labeled anomaly the neighbours decide alone.
    """
    scores = [neighbours(split, seed)]
    if (split.train_y == ANOMALY).any():
        scores.append(extra_trees(split, seed))
    return _float(np.mean([_ranks(one) for one in scores], axis=0))


def unlabeled_and_test(split: Split) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The training rows that are no labeled anomaly, and the test rows, standardised by the former."""
    train = split.train_x[split.train_y != ANOMALY]
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(split.test_x)


def all_and_test(split: Split) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All training rows and the test rows, standardised by the former."""
    scaler = StandardScaler().fit(split.train_x)
    return scaler.transform(split.train_x), scaler.transform(split.test_x)


def _ranks(scores: Scores) -> Scores:
    """Ranks from 1 to n, equal scores sharing the mean of theirs."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return _float((counts.cumsum() - (counts - 1) / 2)[place])


def _drawn(rows: NDArray[np.float64], most: int, seed: int) -> NDArray[np.float64]:
    """At most so many of the rows."""
    if len(rows) <= most:
        return rows
    return rows[np.random.default_rng(seed).choice(len(rows), most, replace=False)]


def _float(scores: NDArray[np.floating]) -> Scores:
    return scores.astype(np.float64)
