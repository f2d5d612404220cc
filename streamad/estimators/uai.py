"""UAI: a detector whose codes the labels shape, under a head that learns each further label at once.

UaiNets: From Unsupervised to Active Deep Anomaly Detection, section 3, equation 3 and Algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from streamad.estimators import files
from streamad.estimators.base import Estimator, fit_many
from streamad.estimators.detectors import DAE
from streamad.estimators.parameters import Rate, Share, Weight, checked
from streamad.estimators.saved import SavedEstimator
from streamad.estimators.tables import Table, labels, numbers
from streamad.models.head import Head
from streamad.models.head_features import LIMIT, FeatureStats, raw_features


@dataclass(eq=False, repr=False)
class UAI(SavedEstimator):
    """Any estimator of this package with a head on its codes and its score.

    `fit` trains the base; labels, if any, shape its codes through a UAI layer while it does. Then the head, a
    Bayesian logistic regression on the members' codes, their squares and the score, learns the labels one by one,
    and `partial_fit` goes on with further ones, each at the same small cost. Before the first label the ranking is
    the base's; there is no cold start to end, since each label moves the head as far as it is surprising.

    - `base`: the estimator; None is a `DAE` of five members;
    - `joint`: whether labels shape the codes, or only the head learns them;
    - `prior_rate`: the share of anomalies that the head assumes;
    - `level_weight`: how much it trusts the base's score before it has seen labels;
    - `latent_deviation`: how large it expects the codes' weights to be.

    After a fit: `base_`, the fitted estimator; `head_`.
    """

    base: Estimator | None = None
    _: KW_ONLY
    joint: bool = True
    prior_rate: Share = 0.02
    level_weight: Weight = 0.5
    latent_deviation: Rate = 0.5

    def fit(self, X: Table, y: ArrayLike | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn from X [n, D] with labels y [n]: 1 anomaly, 0 normal, -1 unlabeled; None = all unlabeled."""
        checked(self)
        x = numbers(self, X, fitting=True)
        known = labels(y, len(x))
        base = clone(self.base) if self.base is not None else DAE(members=5, hidden=(64, 32, 8))
        fit_many([base], [(x, known)], jointly=self.joint and bool((known >= 0).any()))
        raw = _raw(base, x[known != 1])
        self.base_, self.stats_ = base, FeatureStats.fit(raw)
        self.head_ = Head.fresh(
            2 * raw.shape[1] - 1,
            self.prior_rate,
            latent_deviation=self.latent_deviation,
            level_weight=self.level_weight,
        )
        self._learn(x, known)
        return self

    def partial_fit(self, X: Table, y: ArrayLike | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn the labeled rows of X at once, in order; the base stays as it is. The first call is a `fit`."""
        if not hasattr(self, "head_"):
            return self.fit(X, y)
        x = numbers(self, X, fitting=False)
        self._learn(x, labels(y, len(x)))
        return self

    def decision_function(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The log odds of an anomaly for each row of X [n, D]: [n]."""
        check_is_fitted(self)
        return self.head_.log_odds(self.features(numbers(self, X, fitting=False)))

    def anomaly_probability(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The probability that each row of X [n, D] is an anomaly: [n]."""
        check_is_fitted(self)
        return self.head_.probability(self.features(numbers(self, X, fitting=False)))

    def _learn(self, x: NDArray[np.float64], known: NDArray[np.int8]) -> None:
        """Teach the head, which is a new one afterwards, the labeled ones of the rows [n, D]."""
        labeled = np.flatnonzero(known >= 0)
        if not len(labeled):
            return
        head = self.head_.copy()
        for row, verdict in zip(self.features(x[labeled]), known[labeled], strict=True):
            head.update(row, "anomaly" if verdict else "normal")
        self.head_ = head

    def features(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the head reads of rows [n, D]: codes, how far out they are, the score's level; [n, F]."""
        z = self.stats_.apply(_raw(self.base_, x)).double().numpy()
        out = np.minimum((z[:, :-1] ** 2 - 1) / math.sqrt(2), LIMIT)
        return np.concatenate([z[:, :-1], out, z[:, -1:]], axis=1)

    def state(self) -> tuple[dict[str, Any], files.Arrays]:
        """What a fit left, as JSON-able values and arrays."""
        values, arrays = self.base_.state()
        stats = {f"stats.{name}": array for name, array in self.stats_.tensors().items()}
        head = {f"head.{name}": array for name, array in self.head_.tensors().items()}
        return {"base": files.describe(checked(self.base_)), **values}, {**arrays, **stats, **head}

    def restore(self, values: Mapping[str, Any], arrays: files.Arrays) -> None:
        """Take over what `state` gave. Raises `ValueError` and the like where that cannot be."""
        base = checked(files.revive(values["base"]))
        base.device = self.base.device if self.base is not None else base.device
        base.restore(values, arrays)
        self.n_features_in_ = base.n_features_in_
        if hasattr(base, "feature_names_in_"):
            self.feature_names_in_ = base.feature_names_in_
        width = base.members * base.hidden[-1] + 1
        self.stats_ = FeatureStats.from_tensors(files.part(arrays, "stats."), torch.device("cpu"))
        self.head_ = Head.from_tensors(files.part(arrays, "head."))
        if self.stats_.mean.shape != (width,) or self.head_.mean.shape != (2 * width,):
            raise ValueError("its head does not fit")
        self.base_ = base

    def move(self, device: str) -> None:
        """Use another device than the parameters say."""
        self.base = clone(self.base) if self.base is not None else DAE(members=5, hidden=(64, 32, 8))
        self.base.device = device


def _raw(base: Estimator, x: NDArray[np.float64]) -> Tensor:
    """What the head's features come from: the codes and the score's level, [n, K * d + 1]."""
    scores, codes = base.scores_and_codes(x)
    return raw_features(torch.from_numpy(scores.mean(0)).float(), torch.from_numpy(codes).float())
