"""The same on other packages' detectors, where they are installed: PyOD and DeepOD, with their own defaults."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from streamad.bench.papers.baselines import Scores, all_and_test, unlabeled_and_test
from streamad.bench.papers.protocols import ANOMALY, Split


def pyod_detector(module: str, name: str) -> Callable[[Split, int], Scores]:
    """An unsupervised detector of PyOD, on the rows without a label."""

    def score(split: Split, seed: int) -> Scores:
        del seed  # those used here draw nothing
        train, test = unlabeled_and_test(split)
        return _scores(_class(f"pyod.models.{module}", name)().fit(train).decision_function(test))

    return score


def deepod_detector(name: str) -> Callable[[Split, int], Scores]:
    """A weakly supervised detector of DeepOD, on the CPU: labeled anomalies are 1, all other rows 0."""

    def score(split: Split, seed: int) -> Scores:
        train, test = all_and_test(split)
        detector = _class("deepod.models", name)(device="cpu", verbose=0, random_state=seed)
        detector.fit(train.astype(np.float32), (split.train_y == ANOMALY).astype(np.int64))
        return _scores(detector.decision_function(test.astype(np.float32)))

    return score


def _class(module: str, name: str) -> Any:  # noqa: ANN401  # neither package is typed
    return getattr(importlib.import_module(module), name)


def _scores(found: Any) -> Scores:  # noqa: ANN401  # neither package is typed
    return np.asarray(found, dtype=np.float64)
