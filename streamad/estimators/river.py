"""Any estimator as an anomaly detector of River: one row at a time, inside of River's pipelines.

Apart from streamad itself, so that River is imported only by who uses it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from river.base import AnomalyDetector
from sklearn.base import clone

from streamad.estimators.detectors import AE
from streamad.estimators.saved import SavedEstimator

Row = Mapping[Any, Any]
Rows = pl.DataFrame | Iterable[Row]
"""A polars frame, one of pandas (anything with its ``to_dict("records")``), or mappings."""


_LARGEST = 1e100
"""The spread of larger numbers may not be finite."""


class RiverDetector(AnomalyDetector):
    """Keeps a window of the last rows and fits an estimator on it from time to time; higher = more anomalous.

    A row is a mapping from features to numbers. The features are those of the window at the last fit: one that a
    row does not have, or has as None or NaN, counts as its mean over that window, and one that the window did not
    have is left out until the next fit. Their order does not matter.

    Scores have no upper limit, while River's `ROCAUC` puts its thresholds between 0 and 1: `RollingROCAUC` does not.

    Labels are River's targets: True or 1 for an anomaly, False or 0 for a normal row, None or -1 for neither.
    Pipelines and evaluations hand them on only to detectors that are supervised.

    - `estimator`: what is fitted; it stays as it is, copies of it are fitted.
    - `window`: how many rows are kept.
    - `refit_every`: after how many rows the estimator is fitted anew; `learn_one` takes as long then as a fit does.
    - `grace`: how many rows the first fit waits for; until then all scores are 0.
    - `supervised`: whether River's pipelines are to pass labels on to `learn_one`.

    >>> import random
    >>> from river import preprocessing
    >>> from streamad import DeepSVDD
    >>> from streamad.estimators.river import RiverDetector
    >>> detector = DeepSVDD(hidden=(8, 4), epochs=20, learning_rate=1e-3)
    >>> model = preprocessing.StandardScaler() | RiverDetector(detector, window=500, refit_every=250, grace=100)
    >>> numbers = random.Random(0)
    >>> for _ in range(300):
    ...     model.learn_one({"a": numbers.gauss(20, 1), "b": numbers.gauss(-3, 5)})
    >>> model.score_one({"a": 20, "b": -2}) < model.score_one({"a": 30, "b": 40})
    True
    """

    def __init__(
        self,
        estimator: SavedEstimator,
        window: int = 1000,
        refit_every: int = 1000,
        grace: int = 200,
        supervised: bool = False,  # noqa: FBT001, FBT002  # River reads parameters off the signature
    ) -> None:
        """Raises `ValueError` for no estimator, counts that are not whole or positive, or a window smaller than `grace`."""
        if not isinstance(estimator, SavedEstimator):
            raise ValueError(f"estimator is one of streamad's, such as DeepSVDD(), but not {estimator!r}")  # noqa: TRY004  # as scikit-learn
        counts = (window, refit_every, grace)
        if any(type(count) is not int for count in counts) or min(counts) < 1 or grace > window:
            raise ValueError(
                "window, refit_every and grace are integers of at least 1, and grace at most window"
            )
        self.estimator, self.supervised = estimator, supervised
        self.window, self.refit_every, self.grace = window, refit_every, grace
        self._rows: deque[tuple[dict[Hashable, float], int]] = deque(maxlen=window)
        self._waiting = 0
        self._fitted: SavedEstimator | None = None
        self._means: dict[Hashable, float] = {}

    @property
    def _supervised(self) -> bool:
        return self.supervised

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"estimator": AE(hidden=(4, 2), epochs=2, device="cpu"), "grace": 50, "refit_every": 100}

    def learn_one(self, x: Row, y: object = None) -> None:
        """Take a row in, with its label if there is one; fits where it is time."""
        self.learn_many([x], [y])

    def learn_many(self, X: Rows, y: Iterable[object] | None = None) -> None:  # noqa: N803  # River's name
        """Take rows in, with their labels if there are any; fits at most once, after the last.

        Raises `ValueError`, and takes none of them, where a value is no number below 1e100 or a label is none.
        """
        rows = [_numbers(row) for row in _mappings(X)]
        known = [-1] * len(rows) if y is None else [_label(label) for label in y]
        if len(known) != len(rows):
            raise ValueError(f"there are {len(rows)} rows but {len(known)} labels")
        self._rows.extend(list(zip(rows, known, strict=True)))
        self._waiting += len(rows)
        if self._waiting >= (self.grace if self._fitted is None else self.refit_every):
            self._fit()

    def score_one(self, x: Row) -> float:
        """The score of a row, as the estimator gives it; 0 before the first fit."""
        return float(self.score_many([x])[0])

    def score_many(self, X: Rows) -> NDArray[np.float64]:  # noqa: N803  # River's style
        """The scores of rows [n]."""
        rows = [_numbers(row) for row in _mappings(X)]
        if self._fitted is None or not rows:
            return np.zeros(len(rows))
        return self._fitted.decision_function(_matrix(rows, self._means))

    def _fit(self) -> None:
        """Fit a copy of the estimator on the window, unless nothing can be learned from it."""
        rows, known = zip(*self._rows, strict=True)
        means = _means(rows)
        if means and not all(label == 1 for label in known):
            fitted = clone(self.estimator).fit(_matrix(rows, means), known)
            self._fitted, self._means, self._waiting = fitted, means, 0


def _mappings(X: Rows) -> Iterable[Row]:  # noqa: N803  # River's name
    """The rows as mappings."""
    if isinstance(X, pl.DataFrame):
        return X.iter_rows(named=True)
    return X.to_dict("records") if hasattr(X, "to_dict") else X


def _numbers(row: Row) -> dict[Hashable, float]:
    """The values that a row has. Raises `ValueError` for what is no number below `_LARGEST`, or no mapping."""
    if not isinstance(row, Mapping):
        raise ValueError(f"a row is a mapping from features to numbers, but not {row!r}")  # noqa: TRY004  # as learn_many says
    found = {}
    for name, value in row.items():
        if _is_missing(value):
            continue
        try:
            found[name] = float(value)
            usable = not isinstance(value, str) and abs(found[name]) < _LARGEST
        except (TypeError, ValueError, OverflowError):
            usable = False
        if not usable:
            raise ValueError(
                f"feature {name!r} is {value!r}: River's transformers can make finite numbers of it"
            )
    return found


def _is_missing(value: object) -> bool:
    """None, NaN of any type, or the missing value of pandas, which is neither like nor unlike itself."""
    try:
        return value is None or bool(value != value)  # noqa: PLR0124
    except TypeError:
        return True
    except ValueError:  # an array
        return False


def _label(y: object) -> int:
    """1 anomaly, 0 normal, -1 unlabeled. Raises `ValueError` for anything else."""
    if y is None:
        return -1
    if not isinstance(y, int | float | np.generic) or y not in (1, 0, -1):
        raise ValueError(f"a label is True, False or None (also 1, 0 and -1), but not {y!r}")
    return int(y)


def _means(rows: Iterable[Mapping[Hashable, float]]) -> dict[Hashable, float]:
    """The mean of each feature that any of the rows has, in an order that is the same for any order in the rows."""
    values: dict[Hashable, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return {name: math.fsum(values[name]) / len(values[name]) for name in sorted(values, key=str)}


def _matrix(rows: Iterable[Mapping[Hashable, float]], means: Mapping[Hashable, float]) -> NDArray[np.float64]:
    """The features of rows [n, D], the mean where a row does not have one."""
    return np.array([[row.get(name, mean) for name, mean in means.items()] for row in rows])
