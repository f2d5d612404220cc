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

from streamad.models.rarity import Rarity

COUNT = 256
"""D, the number of features: with few of them records that have nothing in common are taken to be alike. Half are
cosines and half are sines, so that all rows' features have the length 1 and, before any label, the level alone ranks
them."""


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """Cosines and sines of random projections of the latents, and how rare the level of the score is."""

    frequency: NDArray[np.float32]
    """[F - 1, D / 2]; in single precision waves take a tenth of the time."""
    rarity: Rarity

    @classmethod
    def fresh(cls, held: NDArray[np.float64], seed: int) -> Self:
        """For standardised features like those of the held-out rows [R, F], the last of which is the level.

        The kernel's length is what the latents' standardisation makes it: the root of their number.
        """
        random = np.random.default_rng(seed)
        latents = held.shape[1] - 1
        frequency = random.standard_normal((latents, COUNT // 2)) / math.sqrt(max(latents, 1))
        return cls(frequency.astype(np.float32), Rarity.fit(held[:, -1]))

    @property
    def width(self) -> int:
        """D + 1."""
        return COUNT + 1

    def apply(self, features: NDArray[np.float64]) -> NDArray[np.float32]:
        """[n, D + 1] of [n, F]."""
        angles = features[:, :-1].astype(np.float32) @ self.frequency
        count = angles.shape[1]
        out = np.empty((len(features), 2 * count + 1), np.float32)
        np.cos(angles, out=out[:, :count])
        np.sin(angles, out=out[:, count:-1])
        out[:, :-1] *= np.float32(1 / math.sqrt(count))
        out[:, -1] = self.rarity.apply(features[:, -1])
        return out

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays of an artifact."""
        return {"frequency": self.frequency, **self.rarity.tensors()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self | None:
        """The waves that wrote `tensors`; None where they are of a head without."""
        if "frequency" not in tensors:
            return None
        return cls(np.array(tensors["frequency"], np.float32), Rarity.from_tensors(tensors))
