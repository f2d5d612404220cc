"""What may be given as X and y, and one sentence for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

Table = ArrayLike | pl.DataFrame


def numbers(estimator: BaseEstimator, X: Table, *, fitting: bool) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
    """The rows of X [n, D], all finite. A fit notes the number and names of the columns, which later ones must have.

    Raises `ValueError`, or `TypeError` for a sparse matrix, where X is anything else.
    """
    try:
        x: NDArray[np.float64] = validate_data(
            estimator, _plain(X), dtype=np.float64, ensure_all_finite=False, reset=fitting
        )
    except ValueError as error:
        raise ValueError(" ".join(str(error).split())) from None  # scikit-learn's go over several lines
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        found = "NaN, a missing value," if np.isnan(x[row, column]) else "infinity"
        names = getattr(estimator, "feature_names_in_", range(x.shape[1]))
        raise ValueError(f"X holds {found} in row {row}, column {names[column]}: every value must be finite")
    return x


def columns(estimator: BaseEstimator) -> dict[str, Any]:
    """What a fit noted about the columns, as JSON-able values."""
    names = getattr(estimator, "feature_names_in_", None)
    return {"columns": estimator.n_features_in_, "names": None if names is None else list(names)}


def restore_columns(estimator: BaseEstimator, values: Mapping[str, Any]) -> None:
    """Note what `columns` gave. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
    estimator.n_features_in_ = int(values["columns"])
    if values["names"] is not None:
        estimator.feature_names_in_ = np.array([str(name) for name in values["names"]], dtype=object)


def _plain(X: Table) -> Table:  # noqa: N803  # scikit-learn's name
    """A polars frame as one of floats, everything else as it is, if it holds numbers."""
    if isinstance(X, pl.LazyFrame):
        raise TypeError("X is a lazy frame: collect() it first")
    if not isinstance(X, pl.DataFrame):
        if isinstance(X, np.ma.MaskedArray):
            raise TypeError("X is a masked array: fill it or leave its rows out first")
        kind = getattr(X, "dtype", None)
        if isinstance(kind, np.dtype) and kind.kind in "USMm":
            raise ValueError(f"X holds {kind} and not numbers: encode it first")
        return X
    for name, kind in X.schema.items():
        if not (kind.is_numeric() or kind == pl.Boolean):
            raise ValueError(
                f"column {name!r} of X is {kind}, not numeric: leave it out or encode it as numbers"
            )
    return X.cast(pl.Float64)


def labels(y: ArrayLike | None, count: int) -> NDArray[np.int8]:
    """The labels of `count` rows [n]: 1 anomaly, 0 normal, -1 unlabeled; None means that all are unlabeled.

    Raises `ValueError` where y is anything else.
    """
    if y is None:
        return np.full(count, -1, np.int8)
    found = np.asarray(y)
    if found.shape != (count,):
        raise ValueError(
            f"y must hold one label for each of the {count} rows of X, but its shape is {found.shape}"
        )
    wrong = [label for label in found.tolist() if label not in (1, 0, -1)]
    if wrong:
        raise ValueError(f"y may hold 1 (anomaly), 0 (normal) and -1 (unlabeled), but not {wrong[0]!r}")
    return found.astype(np.int8)
