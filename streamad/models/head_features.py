"""What the head reads of a record: the members' latents and the level of the score, on one scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamad.models.uai import SCORE_FLOOR

LIMIT = 8.0
"""Standardised features are clipped here, so that no single record can outweigh everything."""
SCALE_FLOOR = 1e-3
"""A latent that the held-out rows do not move is not magnified beyond this."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStats:
    """Centre and scale of each head feature over held-out rows."""

    mean: Tensor
    """[F] float32."""
    factor: Tensor
    """[F] float32, one over the standard deviation."""

    @classmethod
    def fit(cls, raw: Tensor) -> Self:
        """Learn from raw features [R, F]."""
        rows = raw.double()
        scale = rows.std(dim=0, correction=0).clamp(min=SCALE_FLOOR)
        return cls(rows.mean(dim=0).float(), (1 / scale).float())

    def apply(self, raw: Tensor) -> Tensor:
        """Standardise and clip raw features [n, F]."""
        return raw.sub(self.mean).mul_(self.factor).clamp_(-LIMIT, LIMIT)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays of an artifact."""
        return {"mean": self.mean.cpu().numpy(), "factor": self.factor.cpu().numpy()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], device: torch.device) -> Self:
        """The statistics that wrote `tensors`."""
        mean, factor = (torch.from_numpy(np.array(tensors[k], np.float32)) for k in ("mean", "factor"))
        return cls(mean.to(device), factor.to(device))


def raw_features(score: Tensor, latents: Tensor) -> Tensor:
    """The scores [n] and latents [K, n, d] side by side as [n, K * d + 1], the score as its logarithm."""
    level = (score + SCORE_FLOOR).log().unsqueeze(-1)
    return torch.cat((latents.transpose(0, 1).flatten(1), level), dim=1)
