"""Random Fourier features: a linear head on them is a Gaussian process on the latents, at a constant cost.

Records near to a labeled one are judged alike, and others are left alone (Rahimi and Recht, "Random Features for
Large-Scale Kernel Machines", NIPS 2007). A head that is linear in the latents themselves has to give every record
an opinion along with the labeled one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

COUNT = 64
"""D, the number of features: more of them cost time and gained nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """Cosines of random projections of the latents; the level of the score is kept as it is."""

    frequency: NDArray[np.float64]
    """[F - 1, D]."""
    phase: NDArray[np.float64]
    """[D]."""

    @classmethod
    def fresh(cls, width: int, seed: int) -> Self:
        """For F = `width` standardised features, the last of which is the level.

        The kernel's length is what the latents' standardisation makes it: the root of their number.
        """
        random = np.random.default_rng(seed)
        latents = max(width - 1, 1)
        frequency = random.standard_normal((width - 1, COUNT)) / math.sqrt(latents)
        return cls(frequency, random.uniform(0, 2 * math.pi, COUNT))

    @property
    def width(self) -> int:
        """D + 1."""
        return len(self.phase) + 1

    def apply(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n, D + 1] of [n, F]; a row's cosines have the length 1 on the average."""
        waves = np.cos(features[:, :-1] @ self.frequency + self.phase) * math.sqrt(2 / len(self.phase))
        return np.hstack([waves, features[:, -1:]])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays of an artifact."""
        return {"frequency": self.frequency, "phase": self.phase}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self | None:
        """The waves that wrote `tensors`; None where they are of a head without."""
        if "phase" not in tensors:
            return None
        return cls(np.array(tensors["frequency"], np.float64), np.array(tensors["phase"], np.float64))
