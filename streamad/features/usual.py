"""Examples of what is usual: records of the window, kept with the encoder, that reasons compare a record with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamad.features.encoder import Encoder
from streamad.records.batch import MISSING_CODE

ROWS = 1000
"""Examples that are kept of a window."""
VALUES = 4_000_000
"""Encoded values that they may have together, where a schema is wide."""


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """R ≥ 1 records as they were before scaling; a rare category is none of them, as the encoder has no slot for it."""

    numbers: NDArray[np.float64]
    """[R, N] NaN = missing."""
    codes: NDArray[np.int32]
    """[R, C] of the encoder's own values: 1 for its first; 0 for any other, -1 for a missing one."""

    @classmethod
    def fit(
        cls,
        encoder: Encoder,
        numbers: NDArray[np.float64],
        codes: NDArray[np.int32],
        values: Sequence[Sequence[str]],
        seed: int,
    ) -> Self:
        """Draw from a window's rows ([n, N] and [n, C], n ≥ 1); ``values[field][code]`` is the codes' dictionary."""
        count = min(len(numbers), ROWS, max(1, VALUES // encoder.width))
        rows = np.sort(np.random.default_rng(seed).permutation(len(numbers))[:count])
        own = np.empty((count, codes.shape[1]), np.int32)
        for field, slots in enumerate(encoder.categories):
            place = {value: code for code, value in enumerate(slots, 1)}
            table = [0, *(place.get(value, 0) for value in values[field][1:]), MISSING_CODE]
            own[:, field] = np.array(table, np.int32)[codes[rows, field]]
        return cls(numbers[rows], own)

    @classmethod
    def centre(cls, encoder: Encoder) -> Self:
        """The one example that an encoder itself gives: each number's centre, each field's most frequent category."""
        known = [min(len(slots), 1) for slots in encoder.categories]
        return cls(encoder.scaler.middle()[np.newaxis], np.array([known], np.int32))

    @classmethod
    def from_tensors(cls, encoder: Encoder, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """What wrote these tensors; `centre` where there are none, as in the first artifacts.

        Raises `ValueError` where they do not fit the encoder.
        """
        if not tensors:
            return cls.centre(encoder)
        numbers, codes = np.asarray(tensors["numbers"], np.float64), np.asarray(tensors["codes"], np.int32)
        most = np.array([len(slots) for slots in encoder.categories], np.int32)
        rows = len(numbers)
        fits = numbers.shape == (rows, len(encoder.scaler.centre)) and codes.shape == (rows, len(most))
        if not (rows and fits and (codes >= MISSING_CODE).all() and (codes <= most).all()):
            message = "the examples of what is usual do not fit the encoder"
            raise ValueError(message)
        return cls(numbers, codes)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays of an artifact."""
        return {"numbers": self.numbers, "codes": self.codes}

    def encoded(self, encoder: Encoder) -> NDArray[np.float32]:
        """[R, D]."""
        return encoder.bind([("", *slots) for slots in encoder.categories]).encode(self.numbers, self.codes)
