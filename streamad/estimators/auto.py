"""Auto: streamad's own choice for tables, what the comparisons in ARCHITECTURE.md support.

Deep members that see an anomaly in different ways, and shallow ones that make the most of few labels, each brought
to the scale of its own training scores; the sum of their evidence is the score.
"""

from __future__ import annotations

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
from streamad.estimators.tables import Table, labels, numbers

_SHALLOW: Mapping[str, type[Shallow]] = {"trees": Trees, "line": Line, "neighbours": Neighbours}
_EPOCHS, _STEPS, _BATCH = 150, 10_000, 128
_LEVELS = 4096
"""Training scores that a scale is made of, at most."""


@dataclass(kw_only=True, eq=False, repr=False)
class Auto(SavedEstimator):
    """The combination to begin with, whatever the number of labels. Higher score = more anomalous.

    DP-VAE, Deep SAD and AE-SAD, which without labels are a VAE, Deep SVDD and an autoencoder. With a labeled anomaly
    trees and logistic regression stand beside them, without one the distance to the nearest neighbours.

    - `epochs`: how often the trainings of the networks go through the rows; None is 150 times, or fewer where there
      are so many rows that it would take more than 10,000 batches;
    - `seed`, `device`, `verbose`: as in `Estimator`.

    After a fit: `deep_` and `shallow_`, the members by name.
    """

    epochs: Count | None = None
    seed: Seed = 0
    device: Device = "auto"
    verbose: bool = False

    def fit(self, X: Table, y: ArrayLike | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn from X [n, D] with labels y [n]: 1 anomaly, 0 normal, -1 unlabeled; None = all unlabeled."""
        fit_autos([self], [(X, y)])
        return self

    def complete(self, x: NDArray[np.float64], known: NDArray[np.int8], deep: dict[str, Estimator]) -> None:
        """Beside fitted networks, fit the other members to rows [n, D] with labels [n], and each one's scale."""
        anomalous = known == 1
        scaling = Scaling.fit(x[~anomalous], "standard")
        scaled = scaling.apply(x)
        shallow: dict[str, Shallow] = {}
        scores = {name: one.decision_function(x) for name, one in deep.items()}
        for name in ("trees", "line") if anomalous.any() else ("neighbours",):
            shallow[name], scores[name] = _SHALLOW[name].fit(scaled, anomalous, self.seed)
        self.scaling_, self.deep_, self.shallow_ = scaling, deep, shallow
        self.levels_ = {name: _levels(own[~anomalous]) for name, own in scores.items()}

    def decision_function(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The members' mean evidence for each row of X [n, D]: [n], finite, at least 0."""
        check_is_fitted(self)
        x = numbers(self, X, fitting=False)
        scaled = self.scaling_.apply(x)
        found = {name: one.decision_function(x) for name, one in self.deep_.items()}
        found |= {name: one.score(scaled) for name, one in self.shallow_.items()}
        mean: NDArray[np.float64] = np.mean(
            [evidence(own, self.levels_[name]) for name, own in found.items()], axis=0
        )
        return mean

    def networks(self, rows: int = 0) -> dict[str, Estimator]:
        """The networks, not fitted, for so many rows."""
        most = max(1, _STEPS * _BATCH // max(rows, _BATCH))
        shared: dict[str, Any] = {
            "epochs": self.epochs or min(_EPOCHS, most),
            "batch_size": _BATCH,
            "seed": self.seed,
            "device": self.device,
            "verbose": self.verbose,
        }
        return {
            "dp_vae": DPVAE(**shared),
            "deep_sad": DeepSAD(members=3, pretraining=0.33, **shared),
            "ae_sad": AESAD(**shared),
        }

    def state(self) -> tuple[dict[str, Any], files.Arrays]:
        """What a fit left, as JSON-able values and arrays."""
        values: dict[str, Any] = {"shallow": list(self.shallow_)}
        parts = {"scaling": {"centre": self.scaling_.centre, "factor": self.scaling_.factor}}
        for name, deep in self.deep_.items():
            values[name], parts[name] = deep.state()
        parts |= {name: one.arrays() for name, one in self.shallow_.items()}
        parts["levels"] = self.levels_
        return values, {f"{name}.{key}": one for name, part in parts.items() for key, one in part.items()}

    def restore(self, values: Mapping[str, Any], arrays: files.Arrays) -> None:
        """Take over what `state` gave. Raises `ValueError` and the like where that cannot be."""
        deep = self.networks()
        for name, one in deep.items():
            one.restore(values[name], files.part(arrays, f"{name}."))
        first = deep["dp_vae"]
        width = self.n_features_in_ = first.n_features_in_
        if hasattr(first, "feature_names_in_"):
            self.feature_names_in_ = first.feature_names_in_
        self.deep_, self.shallow_ = (
            deep,
            {
                name: _SHALLOW[name].restore(files.part(arrays, f"{name}."), width)
                for name in values["shallow"]
            },
        )
        self.scaling_ = Scaling(
            files.array(arrays, "scaling.centre", (width,)), files.array(arrays, "scaling.factor", (width,))
        )
        self.levels_ = {
            name: files.array(arrays, f"levels.{name}", arrays[f"levels.{name}"].shape)
            for name in (*self.deep_, *self.shallow_)
        }

    def move(self, device: str) -> None:
        """Use another device than the parameters say."""
        self.device = device


def fit_autos(autos: Sequence[Auto], sets: Sequence[tuple[Table, ArrayLike | None]]) -> None:
    """Fit each one on its set (X, y), the networks of all of them together.

    They differ in nothing but their seeds, and the sets hold equally many rows and labeled anomalies; each becomes
    what it would have become alone. Raises `ValueError` where they differ otherwise.
    """
    rows, known, deep = [], [], []
    for auto, (X, y) in zip(autos, sets, strict=True):  # noqa: N806  # scikit-learn's name
        checked(auto)
        rows.append(numbers(auto, X, fitting=True))
        known.append(labels(y, len(rows[-1])))
        deep.append(auto.networks(len(rows[-1])))
    for name in deep[0]:
        fit_many([networks[name] for networks in deep], list(zip(rows, known, strict=True)))
    for auto, x, own, networks in zip(autos, rows, known, deep, strict=True):
        auto.complete(x, own, networks)


def evidence(scores: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """How rare scores [n] are among the training's sorted ones: ``-log p``, and beyond their greatest by how much."""
    count = len(levels)
    above = count - np.searchsorted(levels, scores, side="left")
    tail = levels[-1] - levels[int(0.9 * count)]
    beyond = np.maximum(scores - levels[-1], 0) / max(tail, 1e-9)
    rare: NDArray[np.float64] = -np.log(np.minimum(1, (above + 0.5) / (count + 1))) + np.log1p(beyond)
    return rare


def _levels(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores in order, thinned out evenly to at most `_LEVELS`, the greatest among them."""
    ordered = np.sort(scores)
    if len(ordered) <= _LEVELS:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, _LEVELS).round().astype(np.int64)]
