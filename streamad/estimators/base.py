"""What all estimators share: parameters, training, scores, files.

An estimator's parameters are the fields of its dataclass, so that each class names only what is its own; their
annotations say what they may be (`parameters.py`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from streamad.errors import UserError
from streamad.estimators import files
from streamad.estimators.parameters import Count, Device, Hidden, Members, Rate, Seed, Weight, checked
from streamad.estimators.progress import shown
from streamad.estimators.saved import SavedEstimator
from streamad.estimators.scaling import Kind, Scaling
from streamad.estimators.tables import Table, columns, labels, numbers, restore_columns
from streamad.models.base import Detector, find_detector, make_detector
from streamad.models.options import LABELED_SHARE, DetectorOptions
from streamad.models.randomness import member_seeds
from streamad.models.scoring_model import SCORE_LIMIT, choose_device
from streamad.training.loop import TrainingRows, train

FEW, MANY = 32, 2048
"""Rows that are scored at a time, filled up with zeros: the last bits of a product depend on its shape, so there
are only two, one for a handful of rows."""


@dataclass(kw_only=True, eq=False, repr=False)
class Estimator(TransformerMixin, SavedEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A detector of anomalies in tables of numbers. Higher score = more anomalous, as in PyOD.

    Hence it is no `OutlierMixin` of scikit-learn, and has no `score_samples`: their signs mean the opposite.

    Parameters that all have:

    - `hidden`: the widths of the hidden layers, two or more, the last one being the code's;
    - `members`: the networks of the ensemble, whose scores are averaged;
    - `epochs`: how often the training goes through the rows;
    - `min_steps`: a small table is gone through more often than that, until there were so many steps;
    - `patience`: stop after so many epochs without a lower loss, counted once warm-up and annealing are over;
    - `batch_size`, `learning_rate` and `weight_decay` of the training;
    - `scaling` of the columns: ``standard`` (mean 0, deviation 1), ``minmax`` ([0, 1] in training) or ``none``;
    - `seed`: one for the ensemble, or a sequence with one for each member;
    - `device`: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``;
    - `verbose`: show the training's progress on stderr.

    After a fit: `losses_`, the mean loss of each epoch; `n_features_in_`, and `feature_names_in_` where X had them.
    """

    _detector: ClassVar[str]
    _labels: ClassVar[bool] = False
    """Whether labeled anomalies are trained on; otherwise they are left out."""

    hidden: Hidden = (32, 16, 8)
    members: Members = 1
    epochs: Count = 150
    min_steps: Count = 1
    patience: Count | None = None
    batch_size: Count = 128
    learning_rate: Rate = 1e-3
    weight_decay: Weight = 1e-6
    scaling: Kind = "standard"
    seed: Seed | Sequence[Seed] = 0
    device: Device = "auto"
    verbose: bool = False

    def fit(self, X: Table, y: ArrayLike | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn from X [n, D] with labels y [n]: 1 anomaly, 0 normal, -1 unlabeled; None = all unlabeled.

        Unlabeled rows are taken to be normal, as in the papers, so 0 says no more than -1; to `UAI` it does.
        Interrupted, it leaves an earlier fit as it was. Raises `ValueError` for what is no such table, labels or
        parameter, `TrainingError` where the training diverges.
        """
        fit_many([self], [(X, y)])
        return self

    def decision_function(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The score of each row of X [n, D]: [n], finite, at least 0, higher = more anomalous."""
        return np.concatenate([scores.double().mean(0).cpu().numpy() for scores, _ in self._parts(X)])

    def transform(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The members' codes of each row of X [n, D], side by side: [n, K * d]."""
        _, latents = self.scores_and_codes(X)
        return latents.transpose(1, 0, 2).reshape(latents.shape[1], -1)

    def prepared(self, X: Table, y: ArrayLike | None, *, jointly: bool) -> Prepared:  # noqa: N803  # scikit-learn's name
        """For `fit_many`: what this estimator is trained on; notes its columns and their scaling."""
        checked(self)
        rows, known = self._prepared(X, y, all_labels=self._labels or jointly)
        options = self._options()
        if jointly:
            options = options.model_copy(update={"head": True, "labeled_share": LABELED_SHARE})
        return Prepared(self, options, self._seeds(), rows, known)

    def _prepared(
        self,
        X: Table,  # noqa: N803  # scikit-learn's name
        y: ArrayLike | None,
        *,
        all_labels: bool,
    ) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """The scaled rows that are trained on [n, D], and their labels [n]; without labels no labeled anomalies."""
        rows = numbers(self, X, fitting=True)
        known = labels(y, len(rows))
        if (known == 1).all():
            raise ValueError(
                f"all rows of X (n_samples = {len(rows)}) are labeled anomalies: others are needed to compare with"
            )
        if not all_labels:
            rows = rows[known != 1]
            known = np.full(len(rows), -1, np.int8)
        self.scaling_ = Scaling.fit(rows, self.scaling)
        return self.scaling_.apply(rows), known

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
            min_steps=self.min_steps,
            batch=self.batch_size,
            labeled_share=0.0,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            device=self.device,
            head=False,
        )

    def _seeds(self) -> list[int]:
        """A seed for each member."""
        if not isinstance(self.seed, Sequence):
            return member_seeds(int(self.seed), self.members)
        if len(self.seed) != self.members:
            raise ValueError(f"seed holds {len(self.seed)} numbers, but there are {self.members} members")
        return [int(seed) for seed in self.seed]

    def scores_and_codes(self, X: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # noqa: N803  # scikit-learn's name
        """Scores [K, n] and codes [K, n, d]."""
        parts = zip(*self._parts(X), strict=True)
        scores, latents = (torch.cat(part, 1).double().cpu().numpy() for part in parts)
        return scores, latents

    def _parts(self, X: Table) -> Iterator[tuple[Tensor, Tensor]]:  # noqa: N803  # scikit-learn's name
        """Scores [K, some] and codes [K, some, d] of some rows after the other."""
        check_is_fitted(self)
        rows = torch.from_numpy(self.scaling_.apply(numbers(self, X, fitting=False)))
        size = FEW if len(rows) <= FEW else MANY
        for start in range(0, len(rows), size):
            yield self._part(rows[start : start + size], size)

    @torch.inference_mode()
    def _part(self, rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Scores and codes of scaled rows, filled up to `size`."""
        # always a copy: where a slice happens to begin in memory can change the last bits as well
        padded = torch.zeros((size, rows.shape[1]))
        padded[: len(rows)] = rows
        scores, latents = self.detector_.score(padded.to(next(self.detector_.parameters()).device))
        scores = torch.nan_to_num(scores, nan=SCORE_LIMIT, posinf=SCORE_LIMIT).clamp(min=0)
        return scores[:, : len(rows)], latents[:, : len(rows)]

    def state(self) -> tuple[dict[str, Any], files.Arrays]:
        """What a fit left, as JSON-able values and arrays."""
        weights = {name: tensor.cpu().numpy() for name, tensor in self.detector_.state_dict().items()}
        arrays = self.scaling_.arrays() | files.joined({"detector": weights})
        return {**columns(self), "losses": self.losses_}, arrays

    def restore(self, values: Mapping[str, Any], arrays: files.Arrays) -> None:
        """Take over what `state` gave. Raises `ValueError` and the like where that cannot be."""
        restore_columns(self, values)
        width = self.n_features_in_
        self.losses_ = [float(loss) for loss in values["losses"]]
        self.scaling_ = Scaling.restore(arrays, width)
        # before a network of that size is made
        needed = self.members * sum(a * b for a, b in pairwise((width, *self.hidden)))
        if needed > sum(array.size for array in arrays.values()):
            raise ValueError("it is smaller than its networks")
        detector = make_detector(self._detector, width, self._options(), range(self.members))
        files.fill(detector, files.part(arrays, "detector."))
        self.detector_ = detector.to(_place(self.device))
        self.detector_.prepare()


class Prepared(NamedTuple):
    """One estimator's share of a training."""

    estimator: Estimator
    options: DetectorOptions
    seeds: list[int]
    rows: NDArray[np.float32]
    """[n, D], scaled."""
    labels: NDArray[np.int8]
    """[n]."""


def fit_many(
    estimators: Sequence[Estimator], sets: Sequence[tuple[Table, ArrayLike | None]], *, jointly: bool = False
) -> None:
    """Fit each estimator on its set (X, y), all in one go.

    The estimators differ in nothing but their seeds, and the sets hold equally many rows; each estimator
    becomes what it would have become alone, except that with `patience` all stop together. `jointly`: the labels
    shape the codes through a UAI layer as well.

    Raises `ValueError` where they differ otherwise, and what a fit raises.
    """
    # copies, so that the estimators stay what they were until all has gone well
    ready = [copy.copy(e).prepared(X, y, jointly=jointly) for e, (X, y) in zip(estimators, sets, strict=True)]
    options = ready[0].options
    if any(one.options != options or one.rows.shape != ready[0].rows.shape for one in ready):
        raise ValueError("estimators fitted together need equal parameters, and sets of one shape")
    detector, losses = _trained(estimators[0], ready)
    for i, (estimator, (fitted, *_)) in enumerate(zip(estimators, ready, strict=True)):
        fitted.losses_ = list(losses)
        fitted.detector_ = _members(detector, options, i * options.members)
        estimator.__dict__ = fitted.__dict__


def _trained(first: Estimator, ready: Sequence[Prepared]) -> tuple[Detector, list[float]]:
    """One detector with the members of all estimators, and the mean loss of each epoch."""
    options, seeds = ready[0].options, [seed for one in ready for seed in one.seeds]
    device = _place(options.device)
    data = TrainingRows(
        torch.from_numpy(np.stack([one.rows for one in ready])).to(device),
        torch.from_numpy(np.stack([one.labels for one in ready])).to(device),
    )
    detector = make_detector(options.name, data.rows.shape[2], options, seeds).to(device)
    with shown(type(first).__name__, verbose=first.verbose) as progress:
        return detector, train(detector, data, options, seeds, progress=progress, patience=first.patience)


def _place(device: str) -> torch.device:
    try:
        return choose_device(device)
    except UserError as error:
        raise ValueError(str(error).removeprefix("detector.")) from None


def _members(detector: Detector, options: DetectorOptions, start: int) -> Detector:
    """The detector of members `start` to ``start + options.members``, ready to score."""
    members = slice(start, start + options.members)
    own = make_detector(options.name, detector.width, options, range(options.members))
    own.load_state_dict({name: tensor[members] for name, tensor in detector.state_dict().items()})
    own.to(next(detector.parameters()).device).prepare()
    return own
