"""What all estimators share: parameters, validation, scaling, training, files.

An estimator's parameters are the fields of its dataclass, so that each class names only what is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from streamad.estimators.scaling import Scaling
from streamad.models.base import Detector, find_detector, make_detector
from streamad.models.options import DetectorOptions
from streamad.models.randomness import member_seeds
from streamad.models.scoring_model import choose_device
from streamad.training.loop import TrainingRows, train

Seed = int | Sequence[int]


@dataclass(kw_only=True, eq=False, repr=False)
class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A detector of tables of numbers. Higher scores = more anomalous, as in PyOD.

    Parameters that all have: `hidden`, the widths of the hidden layers, the last one being the code's;
    `members`, the networks of the ensemble; `epochs`, `batch_size`, `learning_rate` and `weight_decay` of the
    training; `scaling` of the columns, ``standard`` (mean 0, deviation 1), ``minmax`` ([0, 1] in training) or
    ``none``; `seed`, one for the ensemble or one a member; `device`, ``auto``, ``cpu`` or ``cuda``; `verbose`.
    """

    _detector: ClassVar[str]
    _labels: ClassVar[bool] = False
    """Whether labeled anomalies are trained on; otherwise they are left out."""

    hidden: Sequence[int] = (32, 16, 8)
    members: int = 1
    epochs: int = 150
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    scaling: Literal["standard", "minmax", "none"] = "standard"
    seed: Seed = 0
    device: str = "auto"
    verbose: bool = False

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Learn from X [n, D] with labels y [n]: 1 anomaly, 0 normal, -1 unlabeled; None = all unlabeled."""
        fit_many([self], [(X, y)])
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803 - scikit-learn's name
        """The score of each row of X [n, D]: [n], at least 0, higher = more anomalous."""
        scores, _ = self._score(X)
        return scores.mean(0)

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803 - scikit-learn's name
        """The members' codes of each row of X [n, D], side by side: [n, K * d]."""
        _, latents = self._score(X)
        return latents.transpose(1, 0, 2).reshape(latents.shape[1], -1)

    def _score(self, X: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # noqa: N803
        """Scores [K, n] and codes [K, n, d]."""
        check_is_fitted(self, "detector_")
        x = torch.from_numpy(self.scaling_.apply(validate_data(self, X, reset=False)))
        place = next(self.detector_.parameters()).device
        with torch.inference_mode():
            parts = [self.detector_.score(rows.to(place)) for rows in x.split(8192)]
        scores, latents = (torch.cat(part, 1).double().cpu().numpy() for part in zip(*parts, strict=True))
        return scores, latents

    def _options(self) -> DetectorOptions:
        """The parameters as the detector reads them."""
        settings = {
            name: float(getattr(self, name))
            for name in find_detector(self._detector).SETTINGS
            if hasattr(self, name)
        }
        return DetectorOptions(
            name=self._detector,
            settings=settings,
            members=self.members,
            hidden=tuple(self.hidden[:-1]),
            latent=self.hidden[-1],
            epochs=self.epochs,
            min_steps=1,
            batch=self.batch_size,
            labeled_share=0.0,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            device=self.device,
            head=False,
        )

    def _seeds(self) -> list[int]:
        """A seed for each member."""
        return member_seeds(self.seed, self.members) if isinstance(self.seed, int) else list(self.seed)

    def _prepared(self, X: Any, y: Any) -> tuple[NDArray[np.float32], NDArray[np.int8]]:  # noqa: N803
        """The scaled rows that are trained on, and their labels."""
        rows = validate_data(self, X, dtype=np.float64)
        labels = np.full(len(rows), -1, np.int8) if y is None else np.asarray(y).astype(np.int8)
        if not self._labels:
            rows, labels = rows[labels != 1], labels[labels != 1]
        self.scaling_ = Scaling.fit(rows, self.scaling)
        return self.scaling_.apply(rows), labels


def fit_many(estimators: Sequence[Estimator], sets: Sequence[tuple[Any, Any]]) -> None:
    """Fit each estimator on its set (X, y), all in one go.

    The estimators differ in nothing but their seeds, and the sets hold equally many rows; each estimator
    becomes what it would have become alone.
    """
    first = estimators[0]
    options, device = first._options(), choose_device(first.device)
    pairs = [e._prepared(*xy) for e, xy in zip(estimators, sets, strict=True)]
    seeds = [seed for e in estimators for seed in e._seeds()]
    rows = torch.from_numpy(np.stack([x for x, _ in pairs])).to(device)
    labels = torch.from_numpy(np.stack([y for _, y in pairs])).to(device)
    detector = make_detector(options.name, rows.shape[2], options, seeds).to(device)
    losses = train(detector, TrainingRows(rows, labels), options, seeds)
    for i, estimator in enumerate(estimators):
        estimator.losses_ = losses
        estimator.detector_ = _member_slice(detector, options, i * options.members).to(device)
        estimator.detector_.prepare()


def _member_slice(detector: Detector, options: DetectorOptions, start: int) -> Detector:
    """The detector of members `start` to ``start + options.members``."""
    members = slice(start, start + options.members)
    own = make_detector(options.name, detector.width, options, range(options.members))
    own.load_state_dict({name: tensor[members] for name, tensor in detector.state_dict().items()})
    return own
