"""The members of `Auto` that are no networks: what scikit-learn fits, kept as plain arrays so that no pickle is needed."""

from __future__ import annotations

import warnings
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from streamad.estimators.files import Arrays

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

    def arrays(self) -> Arrays:
        """What `restore` needs."""

    @classmethod
    def restore(cls, arrays: Arrays, width: int) -> Self:
        """The one that gave the arrays. Raises `ValueError` or `KeyError` where they do not fit D = `width`."""


class Trees:
    """Extremely randomised trees on bootstrap samples; a training row is scored by the trees that did not see it."""

    def __init__(
        self,
        starts: NDArray[np.int64],
        children: NDArray[np.int64],
        feature: NDArray[np.int64],
        threshold: NDArray[np.float64],
        share: NDArray[np.float64],
    ) -> None:
        """The trees' nodes one after the other: [t] roots, [m, 2] next nodes, itself for a leaf, [m] the others."""
        self._starts, self._children = starts, children
        self._feature, self._threshold, self._share = feature, threshold, share

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
        children = [np.stack((tree.children_left, tree.children_right), axis=1) for tree in trees]
        own = [np.arange(len(nodes))[:, None] for nodes in children]
        joined = [np.where(c < 0, o, c) + s for c, o, s in zip(children, own, starts, strict=True)]
        model = cls(
            starts.astype(np.int64),
            np.concatenate(joined).astype(np.int64),
            np.concatenate([np.maximum(tree.feature, 0) for tree in trees]).astype(np.int64),
            np.concatenate([tree.threshold for tree in trees]),
            np.concatenate([tree.value[:, 0, 1] / tree.value[:, 0].sum(1) for tree in trees]),
        )
        return model, np.nan_to_num(forest.oob_decision_function_[:, 1])

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The trees' mean share of anomalies in the leaves [n] of rows [n, D]."""
        total = np.zeros(len(x))
        rows = np.arange(len(x))
        for start in self._starts:
            node = np.full(len(x), start)
            while True:
                right = x[rows, self._feature[node]] > self._threshold[node]
                following = self._children[node, right.astype(np.int64)]
                if (following == node).all():
                    break
                node = following
            total += self._share[node]
        return total / len(self._starts)

    def arrays(self) -> Arrays:
        """What `restore` needs."""
        return {
            "starts": self._starts,
            "children": self._children,
            "feature": self._feature,
            "threshold": self._threshold,
            "share": self._share,
        }

    @classmethod
    def restore(cls, arrays: Arrays, width: int) -> Self:
        """The one that gave the arrays. Raises `ValueError` or `KeyError` where they do not fit D = `width`."""
        starts, children, feature = (arrays[name] for name in ("starts", "children", "feature"))
        nodes = np.arange(len(children))[:, None]
        # a child stands behind its parent, so that every walk ends
        sound = (
            all(array.dtype == np.int64 for array in (starts, children, feature))
            and children.shape == (len(nodes), 2)
            and bool(((children >= nodes) & (children < len(nodes))).all())
            and bool(((feature >= 0) & (feature < width)).all())
            and bool(((starts >= 0) & (starts < len(nodes))).all())
            and len(starts) > 0
            and all(len(arrays[name]) == len(nodes) for name in ("feature", "threshold", "share"))
        )
        if not sound:
            raise ValueError("its trees do not fit")
        return cls(starts, children, feature, arrays["threshold"], arrays["share"])


class Line:
    """Logistic regression, both classes weighing the same."""

    def __init__(self, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        self._weight, self._bias = weight, bias

    @classmethod
    def fit(cls, x: NDArray[np.float32], y: NDArray[np.bool_], seed: int) -> tuple[Self, NDArray[np.float64]]:
        """Learn which rows [n, D] are labeled anomalies; also gives the scores of all rows [n]."""
        line = LogisticRegression(class_weight="balanced", max_iter=3_000, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # rows that a line divides have no best weights: any large ones do
            line.fit(x, y)
        model = cls(line.coef_[0].astype(np.float64), line.intercept_.astype(np.float64))
        return model, model.score(x)

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The log odds [n] of rows [n, D]."""
        odds: NDArray[np.float64] = (x * self._weight).sum(1) + self._bias[0]
        return odds

    def arrays(self) -> Arrays:
        """What `restore` needs."""
        return {"weight": self._weight, "bias": self._bias}

    @classmethod
    def restore(cls, arrays: Arrays, width: int) -> Self:
        """The one that gave the arrays. Raises `ValueError` or `KeyError` where they do not fit D = `width`."""
        if arrays["weight"].shape != (width,) or arrays["bias"].shape != (1,):
            raise ValueError("its line does not fit")
        return cls(arrays["weight"], arrays["bias"])


class Neighbours:
    """The mean distance to the five nearest rows."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._rows = rows
        self._index = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(rows))).fit(rows)

    @classmethod
    def fit(cls, x: NDArray[np.float32], y: NDArray[np.bool_], seed: int) -> tuple[Self, NDArray[np.float64]]:
        """Keep the rows [n, D] that are no labeled anomalies; also gives the scores of all rows [n]."""
        kept = x[~y]
        if len(kept) > _MOST_ROWS:
            kept = kept[np.random.default_rng(seed).choice(len(kept), _MOST_ROWS, replace=False)]
        model = cls(kept)
        apart, _ = model._index.kneighbors(x, min(_NEIGHBOURS + 1, len(kept)))
        return model, apart[:, 1:].mean(axis=1) if apart.shape[1] > 1 else apart[:, 0]

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The distances [n] of rows [n, D]."""
        apart: NDArray[np.float64] = self._index.kneighbors(x)[0].mean(axis=1)
        return apart

    def arrays(self) -> Arrays:
        """What `restore` needs."""
        return {"rows": self._rows}

    @classmethod
    def restore(cls, arrays: Arrays, width: int) -> Self:
        """The one that gave the arrays. Raises `ValueError` or `KeyError` where they do not fit D = `width`."""
        rows = arrays["rows"]
        if rows.ndim != 2 or rows.shape[1] != width or not len(rows) or rows.dtype != np.float32:
            raise ValueError("its rows do not fit")
        return cls(rows)
