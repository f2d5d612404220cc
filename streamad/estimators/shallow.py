"""The members of `Auto` that are no networks: what scikit-learn fits, kept as plain arrays so that no pickle is needed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from streamad.estimators import files

_TREES = 300
_NEIGHBOURS = 5
_MOST_ROWS = 20_000
"""Rows that neighbours are looked for among."""


class Shallow(Protocol):
    """Scores rows; higher = more anomalous."""

    @classmethod
    def fit(cls, x: NDArray[np.float32], y: NDArray[np.bool_], seed: int) -> tuple[Self, NDArray[np.float64]]:
        """Learn which rows [n, D] are labeled anomalies; also gives the scores of all rows [n]."""

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores [n] of rows [n, D]."""

    def arrays(self) -> files.Arrays:
        """What `restore` needs."""

    @classmethod
    def restore(cls, arrays: files.Arrays, width: int) -> Self:
        """The one that gave the arrays. Raises `ValueError` or `KeyError` where they do not fit D = `width`."""


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Extremely randomised trees on bootstrap samples; a training row is scored by the trees that did not see it."""

    starts: NDArray[np.int64]
    """[t] the roots among the m nodes of all trees."""
    children: NDArray[np.int64]
    """[m, 2] what follows a node for a value up to its threshold, and above it; a leaf is followed by itself."""
    feature: NDArray[np.int64]
    """[m] the column that a node looks at."""
    threshold: NDArray[np.float64]
    """[m]."""
    share: NDArray[np.float64]
    """[m] of anomalies among the rows that came to a node, both classes weighing the same."""

    @classmethod
    def fit(cls, x: NDArray[np.float32], y: NDArray[np.bool_], seed: int) -> tuple[Self, NDArray[np.float64]]:
        """Learn which rows [n, D] are labeled anomalies; also gives the scores of all rows [n]."""
        forest = ExtraTreesClassifier(
            _TREES, class_weight="balanced", bootstrap=True, oob_score=True, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few rows some may be in every tree: they count as normal
            forest.fit(x, y)
        trees = [tree.tree_ for tree in forest.estimators_]
        starts = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
        model = cls(
            starts.astype(np.int64),
            np.concatenate([_following(tree) + start for tree, start in zip(trees, starts, strict=True)]),
            np.concatenate([np.maximum(tree.feature, 0) for tree in trees]).astype(np.int64),
            np.concatenate([tree.threshold for tree in trees]),
            np.concatenate([tree.value[:, 0, 1] / tree.value[:, 0].sum(1) for tree in trees]),
        )
        return model, forest.oob_decision_function_[:, 1]

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The trees' mean share of anomalies in the leaves [n] of rows [n, D]."""
        total = np.zeros(len(x))
        rows = np.arange(len(x))
        for start in self.starts:
            node, before = np.full(len(x), start), None
            while before is None or (node != before).any():
                right = x[rows, self.feature[node]] > self.threshold[node]
                node, before = self.children[node, right.astype(np.int64)], node
            total += self.share[node]
        return total / len(self.starts)

    def arrays(self) -> files.Arrays:
        """What `restore` needs."""
        return {name: getattr(self, name) for name in ("starts", "children", "feature", "threshold", "share")}

    @classmethod
    def restore(cls, arrays: files.Arrays, width: int) -> Self:
        """The one that gave the arrays. Raises `ValueError` or `KeyError` where they do not fit D = `width`."""
        trees, nodes = len(arrays["starts"]), len(arrays["children"])
        found = cls(
            files.array(arrays, "starts", (trees,), np.int64),
            files.array(arrays, "children", (nodes, 2), np.int64),
            files.array(arrays, "feature", (nodes,), np.int64),
            files.array(arrays, "threshold", (nodes,)),
            files.array(arrays, "share", (nodes,)),
        )
        # nothing is followed by what stands before it, so that every walk ends
        earliest = np.arange(nodes)[:, None]
        inside = (
            _within(found.starts, 0, nodes)
            and _within(found.children, earliest, nodes)
            and _within(found.feature, 0, width)
        )
        if not trees or not inside:
            raise ValueError("the trees do not fit")
        return found


def _following(tree: Any) -> NDArray[np.int64]:  # noqa: ANN401  # scikit-learn has no types
    """What follows each node of a tree [m, 2], for a leaf the leaf itself."""
    children = np.stack((tree.children_left, tree.children_right), axis=1).astype(np.int64)
    return np.where(children < 0, np.arange(len(children))[:, None], children)


def _within(found: NDArray[np.int64], least: int | NDArray[np.int64], end: int) -> bool:
    """Whether all numbers are from `least` on and below `end`."""
    return bool(((found >= least) & (found < end)).all())


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Logistic regression, both classes weighing the same."""

    weight: NDArray[np.float64]
    """[D]."""
    bias: NDArray[np.float64]
    """[1]."""

    @classmethod
    def fit(cls, x: NDArray[np.float32], y: NDArray[np.bool_], seed: int) -> tuple[Self, NDArray[np.float64]]:
        """Learn which rows [n, D] are labeled anomalies; also gives the scores of all rows [n]."""
        line = LogisticRegression(class_weight="balanced", max_iter=3_000, random_state=seed)
        with warnings.catch_warnings():
            # rows that a line divides have no best weights: any large ones do
            warnings.simplefilter("ignore")
            line.fit(x, y)
        model = cls(line.coef_[0].astype(np.float64), line.intercept_.astype(np.float64))
        return model, model.score(x)

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The log odds [n] of rows [n, D]."""
        odds: NDArray[np.float64] = (x * self.weight).sum(1) + self.bias[0]
        return odds

    def arrays(self) -> files.Arrays:
        """What `restore` needs."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def restore(cls, arrays: files.Arrays, width: int) -> Self:
        """The one that gave the arrays. Raises `ValueError` or `KeyError` where they do not fit D = `width`."""
        return cls(files.array(arrays, "weight", (width,)), files.array(arrays, "bias", (1,)))


class Neighbours:
    """The mean distance to the five nearest rows."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._rows = rows
        self._index = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(rows))).fit(rows)

    @classmethod
    def fit(cls, x: NDArray[np.float32], y: NDArray[np.bool_], seed: int) -> tuple[Self, NDArray[np.float64]]:
        """Keep the rows [n, D] that are no labeled anomalies; also gives the scores of all rows [n]."""
        kept = np.flatnonzero(~y)
        if len(kept) > _MOST_ROWS:
            kept = kept[np.random.default_rng(seed).choice(len(kept), _MOST_ROWS, replace=False)]
        model = cls(x[kept])
        apart, _ = model._index.kneighbors(x, min(_NEIGHBOURS + 1, len(kept)))
        if apart.shape[1] == 1:
            return model, apart[:, 0]
        scores = apart[:, :_NEIGHBOURS].mean(axis=1)
        scores[kept] = apart[kept, 1:].mean(axis=1)  # the nearest to a kept row is itself
        return model, scores

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The distances [n] of rows [n, D]."""
        apart: NDArray[np.float64] = self._index.kneighbors(x)[0].mean(axis=1)
        return apart

    def arrays(self) -> files.Arrays:
        """What `restore` needs."""
        return {"rows": self._rows}

    @classmethod
    def restore(cls, arrays: files.Arrays, width: int) -> Self:
        """The one that gave the arrays. Raises `ValueError` or `KeyError` where they do not fit D = `width`."""
        rows = files.array(arrays, "rows", (len(arrays["rows"]), width), np.float32)
        if not len(rows):
            raise ValueError("there are no rows to be near to")
        return cls(rows)
