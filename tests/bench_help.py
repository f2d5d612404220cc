"""Small data sets under the names of the papers' ones, for the tests of the benchmark."""

from __future__ import annotations

import numpy as np

from streamad.bench.papers.datasets import FILES, DataSet


def small(name="cardio", normals=100, anomalies=20, width=3, seed=0):
    """Normal rows around 0, anomalies around 3 and -3; no two rows are equal."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.array([0, 1], dtype=np.int8), [normals, anomalies])
    centre = np.where(rng.random(len(y)) < 0.5, 3.0, -3.0) * y
    return DataSet(name, rng.normal(centre[:, None], 1.0, (len(y), width)), y)


def folder_of(tmp_path, *names):
    """A data folder with small files under these names."""
    for seed, name in enumerate(names):
        path = tmp_path / FILES[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        data = small(name, seed=seed)
        np.savez(path, X=data.x.astype(np.float32), y=data.y)
    return tmp_path


def numbered(data):
    """The same with the row's number as the only feature, so that a split tells where its rows are from."""
    return DataSet(data.name, np.arange(len(data.y), dtype=float)[:, None], data.y, data.family)
