"""UAI: a detector whose codes the labels shape, under a head that learns each further label at once.

UaiNets: From Unsupervised to Active Deep Anomaly Detection, section 3, equation 3 and Algorithm 1.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import InstanceOf
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from streamad.estimators import files
from streamad.estimators.base import Estimator, fit_many
from streamad.estimators.detectors import DAE
from streamad.estimators.parameters import Rate, Share, Weight, checked
from streamad.estimators.saved import SavedEstimator
from streamad.estimators.tables import Table, columns, labels, numbers, restore_columns
from streamad.models.head import Head
from streamad.models.head_features import LIMIT, FeatureStats, raw_features


@dataclass(eq=False, repr=False)
class UAI(SavedEstimator):
    """Any estimator of this package with a head on its codes and its score.

    `fit` trains the base; labels, if any, shape its codes through a UAI layer while it does. Then the head, a
    Bayesian logistic regression on the members' codes, their squares and the score, learns the labels one by one,
    and `partial_fit` goes on with further ones, each at the same small cost. There is no cold start to end, since
    each label moves the head as far as it is surprising. Before the first one it expects the weights of the codes
    to be 0: its mean log odds rank as the base's score does, but the farther out the codes, the less certain they
    are, and the log odds, below 0 nearly everywhere, come nearer to 0. Rows with odd codes thus rank higher than
    the base alone has them. Scores are log odds, so that most are below 0.

    - `base`: the estimator; None is a `DAE` of five members;
    - `joint`: whether labels shape the codes, or only the head learns them;
    - `prior_rate`: the share of anomalies that the head assumes;
    - `level_weight`: how much it trusts the base's score before it has seen labels;
    - `latent_deviation`: how large it expects the codes' weights to be.

    After a fit: `base_`, the fitted estimator; `head_`; `n_features_in_`, and `feature_names_in_` where X had them.

    >>> import numpy as np
    >>> from streamad import DAE, UAI
    >>> random = np.random.default_rng(0)
    >>> X = random.normal(size=(500, 4))
    >>> X[:10] += 4  # what is looked for
    >>> X[10:40] += [-4, 4, -4, 4]  # as odd, but of no interest
    >>> truth = (np.arange(500) < 10).astype(int)
    >>> detector = UAI(DAE(hidden=(16, 8), epochs=30)).fit(X)
    >>> asked = np.zeros(500, dtype=bool)
    >>> for _ in range(20):
    ...     row = np.where(asked, -np.inf, detector.decision_function(X)).argmax()
    ...     asked[row] = True
    ...     detector = detector.partial_fit(X[[row]], truth[[row]])  # the answer
    >>> int(truth[asked].sum())  # found by twenty questions
    10
    """

    base: InstanceOf[Estimator] | None = None
    _: KW_ONLY
    joint: bool = True
    prior_rate: Share = 0.02
    level_weight: Weight = 0.5
    latent_deviation: Rate = 0.5

    def fit(self, X: Table, y: ArrayLike | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn from X [n, D] with labels y [n]: 1 anomaly, 0 normal, -1 unlabeled; None = all unlabeled.

        Interrupted, it leaves an earlier fit as it was. Raises `ValueError` for what is no such table, labels or
        parameter, `TrainingError` where the training diverges.
        """
        checked(self)
        fitted = copy.copy(self)  # takes this one's place once all has gone well
        x = numbers(fitted, X, fitting=True)
        known = labels(y, len(x))
        fitted.base_ = self._fresh_base()
        fit_many([fitted.base_], [(x, known)], jointly=self.joint and bool((known >= 0).any()))
        raw = _raw(fitted.base_, x[known != 1])
        fitted.stats_ = FeatureStats.fit(raw)
        fitted.head_ = Head.fresh(
            _width(raw.shape[1]),
            self.prior_rate,
            latent_deviation=self.latent_deviation,
            level_weight=self.level_weight,
        )
        fitted.head_ = _taught(fitted, x, known)
        self.__dict__ = fitted.__dict__
        return self

    def partial_fit(self, X: Table, y: ArrayLike | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn the labeled rows of X [n, D] at once, in order; the base stays as it is. The first call is a `fit`.

        Raises `ValueError` for what is no such table or labels; the head is then what it was.
        """
        if not hasattr(self, "head_"):
            return self.fit(X, y)
        x = numbers(self, X, fitting=False)
        self.head_ = _taught(self, x, labels(y, len(x)))
        return self

    def decision_function(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The log odds of an anomaly for each row of X [n, D]: [n], finite, below 0 for what is rather normal."""
        features = self.features(self._rows(X))
        return self.head_.log_odds(features)

    def anomaly_probability(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The probability that each row of X [n, D] is an anomaly: [n]."""
        features = self.features(self._rows(X))
        return self.head_.probability(features)

    def features(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the head reads of rows [n, D]: codes, how far out they are, the score's level; [n, F]."""
        z = self.stats_.apply(_raw(self.base_, x)).double().numpy()
        out = np.minimum((z[:, :-1] ** 2 - 1) / math.sqrt(2), LIMIT)
        return np.concatenate([z[:, :-1], out, z[:, -1:]], axis=1)

    def _rows(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The rows [n, D] to be scored."""
        check_is_fitted(self)
        return numbers(self, X, fitting=False)

    def _fresh_base(self) -> Estimator:
        """The base to be fitted."""
        return checked(DAE(members=5, hidden=(64, 32, 8)) if self.base is None else self.base)

    def state(self) -> tuple[dict[str, Any], files.Arrays]:
        """What a fit left, as JSON-able values and arrays."""
        values, arrays = self.base_.state()
        parts = {"base": arrays, "stats": self.stats_.tensors(), "head": self.head_.tensors()}
        return {**columns(self), "base": values}, files.joined(parts)

    def restore(self, values: Mapping[str, Any], arrays: files.Arrays) -> None:
        """Take over what `state` gave. Raises `ValueError` and the like where that cannot be."""
        restore_columns(self, values)
        self.base_ = self._fresh_base()
        self.base_.restore(values["base"], files.part(arrays, "base."))
        if self.base_.n_features_in_ != self.n_features_in_:
            raise ValueError("the base has other columns")
        width = self.base_.members * self.base_.hidden[-1] + 1
        for name in ("stats.mean", "stats.factor"):
            files.array(arrays, name, (width,), np.float32)
        self.stats_ = FeatureStats.from_tensors(files.part(arrays, "stats."), torch.device("cpu"))
        self.head_ = _restored_head(arrays, _width(width))

    def move(self, device: str) -> None:
        """Use another device than the base says."""
        self.base = self._fresh_base()
        self.base.device = device


def _width(raw: int) -> int:
    """The head's features, of so many raw ones: each code once more, as how far out it is."""
    return 2 * raw - 1


def _taught(uai: UAI, x: NDArray[np.float64], known: NDArray[np.int8]) -> Head:
    """A head like the present one that has learned the labeled ones of the rows [n, D] as well, in order."""
    labeled = np.flatnonzero(known >= 0)
    taught = uai.head_.copy()
    if len(labeled):
        for row, verdict in zip(uai.features(x[labeled]), known[labeled], strict=True):
            taught.update(row, "anomaly" if verdict else "normal")
    return taught


def _restored_head(arrays: files.Arrays, width: int) -> Head:
    """The head on F = `width` features. Raises `ValueError` or `KeyError` where its arrays do not fit."""
    files.array(arrays, "head.mean", (width + 1,))
    covariance = files.array(arrays, "head.covariance", (width + 1, width + 1))
    counts = files.array(arrays, "head.counts", (2,), np.int64)
    if (covariance != covariance.T).any() or (counts < 0).any():
        raise ValueError("the head does not fit")
    np.linalg.cholesky(covariance)  # fails where it is none
    return Head.from_tensors(files.part(arrays, "head."))


def _raw(base: Estimator, x: NDArray[np.float64]) -> Tensor:
    """What the head's features come from: the codes and the score's level, [n, K * d + 1]."""
    scores, codes = base.scores_and_codes(x)
    return raw_features(torch.from_numpy(scores.mean(0)).float(), torch.from_numpy(codes).float())
