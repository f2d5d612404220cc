"""Auto: streamad's own choice for tables, what the comparisons in ARCHITECTURE.md support.

Deep members that see an anomaly in different ways, and shallow ones that make the most of few labels, each brought
to the scale of its own training scores; the sum of their evidence is the score.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from streamad.estimators import files
from streamad.estimators.base import Estimator, fit_many
from streamad.estimators.detectors import AESAD, DPVAE, DeepSAD
from streamad.estimators.parameters import Count, Device, Seed, checked
from streamad.estimators.saved import SavedEstimator
from streamad.estimators.scaling import Scaling
from streamad.estimators.shallow import Line, Neighbours, Shallow, Trees
from streamad.estimators.tables import Table, columns, labels, numbers, restore_columns

_SHALLOW: Mapping[str, type[Shallow]] = {"trees": Trees, "line": Line, "neighbours": Neighbours}
_EPOCHS, _STEPS, _BATCH = 150, 10_000, 128
_LEVELS = 4096
"""Training scores that a scale is made of, at most."""


@dataclass(kw_only=True, eq=False, repr=False)
class Auto(SavedEstimator):
    """The combination to begin with, whatever the number of labels. Higher score = more anomalous.

    DP-VAE, Deep SAD and AE-SAD, which without labels are a VAE, Deep SVDD and an autoencoder. With a labeled anomaly
    trees and logistic regression stand beside them, without one the distance to the nearest neighbours.

    - `epochs`: how often the trainings of the networks go through the rows; None is 150 times, more often where there are
      so few rows that DP-VAE would have less than 600 batches, and fewer where it would take more than 10,000;
    - `seed`, `device`, `verbose`: as in `Estimator`.

    After a fit: `deep_` and `shallow_`, the members by name; `epochs_`, how often the trainings went through the rows;
    `n_features_in_`, and `feature_names_in_` where X had them.

    >>> import numpy as np
    >>> from streamad import Auto
    >>> random = np.random.default_rng(0)
    >>> X = random.normal(size=(500, 4))
    >>> X[:10] += 4  # anomalies, of which three are known
    >>> y = np.full(500, -1)
    >>> y[:3] = 1
    >>> scores = Auto(epochs=5).fit(X, y).decision_function(X)
    >>> sorted(scores.argsort()[-10:].tolist())  # the ten most anomalous rows
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    epochs: Count | None = None
    seed: Seed = 0
    device: Device = "auto"
    verbose: bool = False

    def fit(self, X: Table, y: ArrayLike | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn from X [n, D] with labels y [n]: 1 anomaly, 0 normal, -1 unlabeled; None = all unlabeled.

        Interrupted, it leaves an earlier fit as it was. Raises `ValueError` for what is no such table, labels or
        parameter, `TrainingError` where a training diverges.
        """
        fit_autos([self], [(X, y)])
        return self

    def prepare(
        self,
        X: Table,  # noqa: N803  # scikit-learn's name
        y: ArrayLike | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """For `fit_autos`: the rows [n, D] and labels [n]; notes the columns, and networks that are not fitted."""
        epochs = checked(self).epochs
        x = numbers(self, X, fitting=True)
        self.epochs_ = epochs or max(1, min(_EPOCHS, _STEPS * _BATCH // max(len(x), _BATCH)))
        self.deep_ = self._networks(self.epochs_)
        return x, labels(y, len(x))

    def complete(self, x: NDArray[np.float64], known: NDArray[np.int8]) -> None:
        """For `fit_autos`: fit the members beside the networks to what `prepare` gave, and each one's scale."""
        anomalous = known == 1
        self.scaling_ = Scaling.fit(x[~anomalous], "standard")
        scaled = self.scaling_.apply(x)
        scores = {name: one.decision_function(x) for name, one in self.deep_.items()}
        self.shallow_: dict[str, Shallow] = {}
        for name in ("trees", "line") if anomalous.any() else ("neighbours",):
            self.shallow_[name], scores[name] = _SHALLOW[name].fit(scaled, anomalous, self.seed)
        self.levels_ = {name: _levels(own[~anomalous]) for name, own in scores.items()}

    def decision_function(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The members' mean evidence for each row of X [n, D]: [n], finite, at least 0."""
        check_is_fitted(self)
        x = numbers(self, X, fitting=False)
        scaled = self.scaling_.apply(x)
        scores = {name: one.decision_function(x) for name, one in self.deep_.items()}
        scores |= {name: one.score(scaled) for name, one in self.shallow_.items()}
        found = [evidence(own, self.levels_[name]) for name, own in scores.items()]
        mean: NDArray[np.float64] = np.mean(found, axis=0)
        return mean

    def _networks(self, epochs: int) -> dict[str, Estimator]:
        """The networks, not fitted."""
        shared: dict[str, Any] = {
            "epochs": epochs,
            "seed": self.seed,
            "device": self.device,
            "verbose": self.verbose,
        }
        return {
            "dp_vae": DPVAE(**shared) if self.epochs is None else DPVAE(min_steps=1, **shared),
            "deep_sad": DeepSAD(members=3, **shared),
            "ae_sad": AESAD(**shared),
        }

    def state(self) -> tuple[dict[str, Any], files.Arrays]:
        """What a fit left, as JSON-able values and arrays."""
        deep = {name: one.state() for name, one in self.deep_.items()}
        values = {
            **columns(self),
            "epochs": self.epochs_,
            "deep": {name: own for name, (own, _) in deep.items()},
            "shallow": list(self.shallow_),
        }
        parts = {name: arrays for name, (_, arrays) in deep.items()}
        parts |= {name: one.arrays() for name, one in self.shallow_.items()}
        return values, self.scaling_.arrays() | files.joined({**parts, "levels": self.levels_})

    def restore(self, values: Mapping[str, Any], arrays: files.Arrays) -> None:
        """Take over what `state` gave. Raises `ValueError` and the like where that cannot be."""
        restore_columns(self, values)
        width = self.n_features_in_
        self.epochs_ = int(values["epochs"])
        self.deep_ = self._networks(self.epochs_)
        for name, one in self.deep_.items():
            one.restore({**values["deep"][name], "columns": width}, files.part(arrays, f"{name}."))
        names = values["shallow"]
        if not set(names) <= set(_SHALLOW):
            raise ValueError("it names a member that Auto does not have")
        self.shallow_ = {
            name: _SHALLOW[name].restore(files.part(arrays, f"{name}."), width) for name in names
        }
        self.scaling_ = Scaling.restore(arrays, width)
        self.levels_ = {name: _restored_levels(arrays, name) for name in (*self.deep_, *self.shallow_)}


def fit_autos(autos: Sequence[Auto], sets: Sequence[tuple[Table, ArrayLike | None]]) -> None:
    """Fit each one on its set (X, y), the networks of all of them together.

    They differ in nothing but their seeds, and the sets hold equally many rows and labeled anomalies; each becomes
    what it would have become alone. Raises `ValueError` where they differ otherwise, and what a fit raises.
    """
    # copies, so that the autos stay what they were until all has gone well
    fitted = [copy.copy(auto) for auto in autos]
    tables = [one.prepare(X, y) for one, (X, y) in zip(fitted, sets, strict=True)]
    for name in fitted[0].deep_:
        fit_many([one.deep_[name] for one in fitted], tables)
    for one, (x, known) in zip(fitted, tables, strict=True):
        one.complete(x, known)
    for auto, one in zip(autos, fitted, strict=True):
        auto.__dict__ = one.__dict__


def evidence(scores: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """How rare scores [n] are among the training's sorted ones: ``-log p``, and beyond their greatest by how much."""
    count = len(levels)
    above = count - np.searchsorted(levels, scores, side="left")
    tail = levels[-1] - levels[int(0.9 * count)]
    beyond = np.maximum(scores - levels[-1], 0) / max(tail, 1e-9)
    rare: NDArray[np.float64] = -np.log((above + 0.5) / (count + 1)) + np.log1p(beyond)
    return rare


def _levels(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores in order, thinned out evenly to at most `_LEVELS`, the greatest among them."""
    ordered = np.sort(scores)
    if len(ordered) <= _LEVELS:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, _LEVELS).round().astype(np.int64)]


def _restored_levels(arrays: files.Arrays, name: str) -> NDArray[np.float64]:
    """A member's training scores in order. Raises `ValueError` or `KeyError` where they are none."""
    name = f"levels.{name}"
    found = files.array(arrays, name, (len(arrays[name]),))
    if not len(found) or (np.diff(found) < 0).any():
        raise ValueError(f"{name} does not fit")
    return found
