"""streamad's estimators as the benchmark's methods: all seeds of a data set train together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamad.bench.papers.baselines import Codes, Method, Scores
from streamad.bench.papers.protocols import Split
from streamad.estimators.auto import Auto, fit_autos
from streamad.estimators.base import Estimator, fit_many

Make = Callable[[int], Estimator]
"""A seed to an estimator that is not fitted."""

HIDDEN: Final = {"arrhythmia": (128, 64, 32), "thyroid": (32, 16, 4)}
"""The networks of Ruff et al. 2020, appendix D, where they are not `OTHER_HIDDEN`."""
OTHER_HIDDEN: Final = (32, 16, 8)


def scoring(make: Make) -> Method:
    """The method that scores by the estimator's decision function."""

    def method(splits: Sequence[Split], seeds: Sequence[int]) -> list[Scores]:
        fitted = fitted_together(make, splits, seeds)
        return [one.decision_function(split.test_x) for one, split in zip(fitted, splits, strict=True)]

    return method


def coding(make: Make) -> Codes:
    """The representations that the estimator learns, for a hybrid."""

    def codes(
        splits: Sequence[Split], seeds: Sequence[int]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        fitted = fitted_together(make, splits, seeds)
        return [
            (one.transform(split.train_x), one.transform(split.test_x))
            for one, split in zip(fitted, splits, strict=True)
        ]

    return codes


def autos(splits: Sequence[Split], seeds: Sequence[int]) -> list[Scores]:
    """`Auto`, a method."""
    fitted = [Auto(seed=seed, device="cpu") for seed in seeds]
    for group in _alike(splits):
        fit_autos(
            [fitted[place] for place in group],
            [(splits[place].train_x, splits[place].train_y) for place in group],
        )
    return [one.decision_function(split.test_x) for one, split in zip(fitted, splits, strict=True)]


def fitted_together(make: Make, splits: Sequence[Split], seeds: Sequence[int]) -> list[Estimator]:
    """An estimator fitted on each split; those of equally many rows, with and without a label, train as one."""
    estimators = [make(seed) for seed in seeds]
    for group in _alike(splits):
        fit_many(
            [estimators[place] for place in group],
            [(splits[place].train_x, splits[place].train_y) for place in group],
        )
    return estimators


def _alike(splits: Sequence[Split]) -> list[list[int]]:
    """The places of splits with equally many rows and labeled anomalies, group by group."""
    sizes = [(len(split.train_y), int((split.train_y == 1).sum())) for split in splits]
    return [[place for place, own in enumerate(sizes) if own == size] for size in dict.fromkeys(sizes)]
