"""The estimators in a size that takes no time."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator

import streamad
from streamad import DAE, UAI, Auto, DeepSAD
from streamad.errors import UserError
from streamad.estimators import files
from streamad.estimators.base import Estimator

PUBLIC = [getattr(streamad, name) for name in streamad.__all__ if name != "__version__"]
KINDS = tuple(kind for kind in PUBLIC if issubclass(kind, BaseEstimator))
DETECTORS = tuple(kind for kind in KINDS if issubclass(kind, Estimator))
"""Those of one network each, which UAI and Auto are made of."""
SMALL = {"hidden": (6, 3), "members": 2, "epochs": 3, "min_steps": 1, "device": "cpu"}


def rows(n=60, width=4, *, anomalies=3, seed=0):
    """X [n, width] and y [n]: some labeled anomalies first, then as many normal rows, the others unlabeled."""
    x = np.random.default_rng(seed).normal(size=(n, width))
    x[:anomalies] += 5
    y = np.full(n, -1)
    y[:anomalies], y[anomalies : 2 * anomalies] = 1, 0
    return x, y


def small(kind, **parameters):
    """One of that kind; UAI hands on to its base, and Auto leaves out, what they have no parameter for."""
    every = {**SMALL, **parameters}
    own = {name: value for name, value in every.items() if name in inspect.signature(kind).parameters}
    if kind is UAI:
        return UAI(**{"base": DAE(**{k: v for k, v in every.items() if k not in own}), **own})
    return kind(**(own if kind is Auto else every))


def fitted(kind, **parameters):
    return small(kind, **parameters).fit(*rows())


def parameters(detector):
    """All parameters by name, those of a UAI's base among them."""
    found = detector.get_params().items()
    return {name: value for name, value in found if not isinstance(value, BaseEstimator)}


def complaint(path, kind=DeepSAD):
    """What a file is refused with, in one sentence about it."""
    with pytest.raises(UserError) as problem:
        kind.load(path)
    text = str(problem.value)
    assert "\n" not in text
    assert text.startswith(f"{path} ")
    return text.removeprefix(f"{path} ")


def altered(path, change):
    """Write the file again, with what `change` makes of its description and arrays; its checksum is right."""
    with safe_open(path, framework="numpy") as file:
        described = json.loads(file.metadata()["streamad"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    change(described, arrays)
    text = json.dumps(described)
    save_file(arrays, path, metadata={"streamad": text, "sha256": files._digest(text, arrays)})
    return path
