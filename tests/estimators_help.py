"""The estimators in a size that takes no time."""

from __future__ import annotations

import numpy as np

import streamad

KINDS = tuple(getattr(streamad, name) for name in streamad.__all__ if name != "__version__")
SMALL = {"hidden": (6, 3), "members": 2, "epochs": 3, "device": "cpu"}


def rows(n=60, width=4, *, anomalies=3, seed=0):
    """X [n, width] and y [n]: some labeled anomalies first, then as many normal rows, the others unlabeled."""
    x = np.random.default_rng(seed).normal(size=(n, width))
    x[:anomalies] += 5
    y = np.full(n, -1)
    y[:anomalies], y[anomalies : 2 * anomalies] = 1, 0
    return x, y


def small(kind, **parameters):
    return kind(**{**SMALL, **parameters})


def fitted(kind, **parameters):
    return small(kind, **parameters).fit(*rows())
