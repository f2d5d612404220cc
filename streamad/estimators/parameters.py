"""What an estimator's parameters may be: their annotations say it, and a fit checks them."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from sklearn.base import BaseEstimator

from streamad.models.options import MOST_MEMBERS

_MOST_WEIGHT = 1e6


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


_Int = Annotated[int, BeforeValidator(_plain), Field(strict=True)]
_Float = Annotated[float, BeforeValidator(_plain), Field(strict=True, allow_inf_nan=False)]

Count = Annotated[_Int, Field(ge=1)]
Members = Annotated[_Int, Field(ge=1, le=MOST_MEMBERS)]
Width = Annotated[_Int, Field(ge=1, le=65536)]
Hidden = Annotated[Sequence[Width], Field(min_length=2)]
Number = _Float
Weight = Annotated[_Float, Field(ge=0, le=_MOST_WEIGHT)]
Rate = Annotated[_Float, Field(gt=0)]
Share = Annotated[_Float, Field(ge=0, lt=1)]
Seed = Annotated[_Int, Field(ge=0, lt=1 << 40)]
Order = Annotated[_Float, Field(gt=0, lt=0.5)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]

_Estimator = TypeVar("_Estimator", bound=BaseEstimator)


def checked(estimator: _Estimator) -> _Estimator:
    """An unfitted copy with the same parameters as plain Python values.

    Raises `ValueError`, in one sentence, where a parameter is not what its annotation says.
    """
    kind: Any = type(estimator)
    given: dict[str, Any] = estimator.get_params(deep=False)
    try:
        plain: _Estimator = _adapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        name, why = str(first["loc"][0]), first["msg"].removeprefix("Input ")
        raise ValueError(f"{kind.__name__}: {name} is {_shown(given[name])}, but {why}") from None
    return plain


@functools.cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _shown(value: object) -> str:
    """A value on one line, shortened."""
    # scikit-learn takes twice as long for each level of estimators within estimators
    text = f"{type(value).__name__}(...)" if isinstance(value, BaseEstimator) else reprlib.repr(value)
    return " ".join(text.split())
