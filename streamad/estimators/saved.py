"""What every estimator can do whatever it is made of: learn, score, be written to a file, and come back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict
from sklearn.base import BaseEstimator
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.validation import check_is_fitted

from streamad.errors import UserError
from streamad.estimators import files
from streamad.estimators.parameters import checked
from streamad.estimators.tables import Table


class SavedEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An estimator with a file format: safetensors and JSON, never pickle."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    @abstractmethod
    def fit(self, X: Table, y: ArrayLike | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn from X [n, D] with labels y [n]: 1 anomaly, 0 normal, -1 unlabeled; None = all unlabeled."""

    @abstractmethod
    def decision_function(self, X: Table) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """The score of each row of X [n, D]: [n], finite, higher = more anomalous."""

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to one file: safetensors, with all else as JSON in its header.

        A file of that name is replaced once the new one is complete.
        """
        check_is_fitted(self)
        values, arrays = self.state()
        files.write(Path(path), files.Saved(files.describe(self), values, arrays))

    @classmethod
    def load(cls, path: str | Path, *, device: str | None = None) -> Self:
        """The estimator that `save` wrote; `device` replaces the one that it has. Nothing in the file is run.

        Raises `UserError`, in one sentence, for a file that is damaged, foreign or another class's.
        """
        saved = files.read(Path(path), cls.__name__)
        try:
            parameters = {name: files.revive(one) for name, one in saved.estimator["parameters"].items()}
            estimator = cls(**parameters)
            if device is not None:
                estimator.move(device)
            estimator = checked(estimator)
            estimator.restore(saved.values, saved.arrays)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"{path} does not hold what it should: {error}") from None
        return estimator

    def __sklearn_tags__(self) -> Tags:
        """What scikit-learn may know: y, if any, is of two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], files.Arrays]:
        """What a fit left, as JSON-able values and arrays."""

    @abstractmethod
    def restore(self, values: Mapping[str, Any], arrays: files.Arrays) -> None:
        """Take over what `state` gave. Raises `ValueError` and the like where that cannot be."""

    def move(self, device: str) -> None:
        """Use another device than the parameters say."""
        self.device = device
